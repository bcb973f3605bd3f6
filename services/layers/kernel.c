/* Products with weights in 8 bits, for x86-64 with AVX512-VNNI, faster where there is AMX too.

   y[m][n] = sum over k of x[m][k] * w[n][k], + bias[n], where a row of w is whole numbers from -127 to 127
   times a scale. x is rounded here to the sum of one to three such numbers, its codes, each on a scale
   254 times as fine as the one before. Codes are multiplied and added up in whole numbers, without error, so
   that a token's result depends on nothing else in the call.

   `services.layers.int8` lays weights out as the instructions read them: [N/16][K/4][16][4] with 128 added,
   N filled up to whole groups and K to whole steps. What the 128 adds to a product is taken away at the end. */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if !defined(__x86_64__) || !defined(__GNUC__)
#error "these products are for x86-64, and for gcc or clang; the project does without them"
#endif

#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define LANES 16 /* numbers in a register, and columns in a block of weights */
#define GROUP 4  /* blocks worked on together: with few rows, that many sums must be under way at once */
#define ROWS 6   /* rows of codes worked on together: with GROUP blocks they fill the registers */
#define STEP 64  /* of k, in a tile */
#define TILE 16  /* rows of a tile */
#define WHOLE (6 * TILE) /* rows that hold whole tokens and whole pairs of tiles for any number of codes */
#define MOST_CODES 3
#define FINER 254.0f
#define LEAST 1e-30f /* scale of x, so that zeros can be divided by it */
#define WORTH_SHARING (1 << 18) /* multiplications that take longer than it takes to call other threads */

#define VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define TILES __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,amx-tile,amx-int8")))

typedef struct {
    const uint8_t *weights;
    const float *scales, *bias; /* [n]; there may be no bias */
    int64_t n, k, filled;       /* k as given, and filled up to whole steps */
    int64_t codes;
    const float *x; /* [m][k] */
    float *y;       /* [m][n] */
    int64_t m;
    int64_t threads, tiles; /* how many may work, and whether by tiles */
    int8_t *rows;           /* [m * codes][filled], and rows of no meaning up to whole tiles */
    int32_t *offsets;       /* [m * codes]: what the 128 adds to all products of a row */
    float *x_scales;        /* [m] */
} Product;

/* The pool of threads that torch has: a second one would stand in its way. */
static void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
static int (*thread_number)(void), (*thread_count)(void);

static inline __mmask16 first(int64_t count) {
    return count >= LANES ? 0xffff : count > 0 ? (1u << count) - 1 : 0;
}

static inline int64_t whole(int64_t count, int64_t of) { return (count + of - 1) / of * of; }

VNNI static void round_token(const Product *p, int64_t token) {
    const float *x = p->x + token * p->k;
    int8_t *codes = p->rows + token * p->codes * p->filled;
    __m512 most = _mm512_setzero_ps();
    for (int64_t k = 0; k < p->k; k += LANES)
        most = _mm512_max_ps(most, _mm512_abs_ps(_mm512_maskz_loadu_ps(first(p->k - k), x + k)));
    float scale = _mm512_reduce_max_ps(most) / 127 + LEAST;
    __m512i sums[MOST_CODES];
    for (int64_t code = 0; code < p->codes; code++) sums[code] = _mm512_setzero_si512();
    for (int64_t k = 0; k < p->filled; k += LANES) {
        __m512 rest = _mm512_maskz_loadu_ps(first(p->k - k), x + k);
        rest = _mm512_div_ps(rest, _mm512_set1_ps(scale));
        for (int64_t code = 0; code < p->codes; code++) {
            __m512 nearest = _mm512_roundscale_ps(rest, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
            __m512i number = _mm512_cvtps_epi32(nearest);
            _mm_storeu_si128((__m128i *)(codes + code * p->filled + k), _mm512_cvtepi32_epi8(number));
            sums[code] = _mm512_add_epi32(sums[code], number);
            rest = _mm512_mul_ps(_mm512_sub_ps(rest, nearest), _mm512_set1_ps(FINER));
        }
    }
    p->x_scales[token] = scale;
    for (int64_t code = 0; code < p->codes; code++)
        p->offsets[token * p->codes + code] = 128 * _mm512_reduce_add_epi32(sums[code]);
}

/* Turns sums [rows][columns] of whole tokens, from a row and a column on, into results. */
VNNI static void finish(
    const Product *p, int64_t row, int64_t rows, int64_t column, int64_t columns, const int32_t *sums) {
    int64_t end = row + rows < p->m * p->codes ? row + rows : p->m * p->codes;
    for (; row < end; row += p->codes, sums += p->codes * columns) {
        int64_t token = row / p->codes;
        __m512 x_scale = _mm512_set1_ps(p->x_scales[token]);
        for (int64_t n = 0; n < columns && column + n < p->n; n += LANES) {
            __mmask16 in = first(p->n - column - n);
            __m512 y = _mm512_setzero_ps();
            for (int64_t code = p->codes - 1; code >= 0; code--) {
                __m512i sum = _mm512_loadu_si512(sums + code * columns + n);
                sum = _mm512_sub_epi32(sum, _mm512_set1_epi32(p->offsets[row + code]));
                y = _mm512_fmadd_ps(y, _mm512_set1_ps(1 / FINER), _mm512_cvtepi32_ps(sum));
            }
            __m512 scale = _mm512_mul_ps(x_scale, _mm512_maskz_loadu_ps(in, p->scales + column + n));
            y = _mm512_mul_ps(y, scale);
            if (p->bias) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(in, p->bias + column + n));
            _mm512_mask_storeu_ps(p->y + token * p->n + column + n, in, y);
        }
    }
}

/* Inlined with `rows` a constant, so that all sums are in registers. */
VNNI static inline __attribute__((always_inline)) void multiply_rows(
    const Product *p, int64_t row, const int rows, const uint8_t *weights, int32_t sums[][GROUP * LANES]) {
    const int8_t *codes = p->rows + row * p->filled;
    __m512i sum[ROWS][GROUP];
    for (int r = 0; r < rows; r++)
        for (int g = 0; g < GROUP; g++) sum[r][g] = _mm512_setzero_si512();
    for (int64_t k = 0; k < p->filled; k += 4) {
        __m512i w[GROUP];
        for (int g = 0; g < GROUP; g++) w[g] = _mm512_loadu_si512(weights + (g * p->filled + k) * LANES);
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, codes + r * p->filled + k, 4);
            for (int g = 0; g < GROUP; g++)
                sum[r][g] = _mm512_dpbusd_epi32(sum[r][g], w[g], _mm512_set1_epi32(four));
        }
    }
    for (int r = 0; r < rows; r++)
        for (int g = 0; g < GROUP; g++) _mm512_storeu_si512(sums[r] + g * LANES, sum[r][g]);
}

VNNI static void multiply_group(const Product *p, int64_t group) {
    const uint8_t *weights = p->weights + group * GROUP * LANES * p->filled;
    int32_t sums[ROWS][GROUP * LANES];
    for (int64_t row = 0, left; (left = p->m * p->codes - row) > 0; row += ROWS) {
        switch (left) {
        case 1: multiply_rows(p, row, 1, weights, sums); break;
        case 2: multiply_rows(p, row, 2, weights, sums); break;
        case 3: multiply_rows(p, row, 3, weights, sums); break;
        case 4: multiply_rows(p, row, 4, weights, sums); break;
        case 5: multiply_rows(p, row, 5, weights, sums); break;
        default: multiply_rows(p, row, ROWS, weights, sums);
        }
        finish(p, row, ROWS, group * GROUP * LANES, GROUP * LANES, sums[0]);
    }
}

/* Two tiles of rows by two blocks of weights. Tiles have numbers, not names: 0 to 3 are sums, 4 and 5 codes,
   6 and 7 weights. */
TILES static void multiply_pair(
    const Product *p, int64_t row, int two, const uint8_t *weights, int32_t sums[][2 * LANES]) {
    const int8_t *codes = p->rows + row * p->filled;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < p->filled; k += STEP) {
        _tile_loadd(6, weights + k * LANES, STEP);
        _tile_loadd(7, weights + (p->filled + k) * LANES, STEP);
        _tile_loadd(4, codes + k, p->filled);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        if (two) {
            _tile_loadd(5, codes + TILE * p->filled + k, p->filled);
            _tile_dpbsud(2, 5, 6);
            _tile_dpbsud(3, 5, 7);
        }
    }
    const int64_t apart = sizeof(sums[0]);
    _tile_stored(0, sums[0], apart);
    _tile_stored(1, sums[0] + LANES, apart);
    if (two) {
        _tile_stored(2, sums[TILE], apart);
        _tile_stored(3, sums[TILE] + LANES, apart);
    }
}

static void multiply_group_by_tiles(const Product *p, int64_t group) {
    const int64_t rows = whole(p->m * p->codes, TILE);
    int32_t sums[WHOLE][2 * LANES];
    for (int64_t block = group * GROUP; block < (group + 1) * GROUP; block += 2) {
        const uint8_t *weights = p->weights + block * LANES * p->filled;
        for (int64_t start = 0; start < rows; start += WHOLE) {
            int64_t count = rows - start < WHOLE ? rows - start : WHOLE;
            for (int64_t row = 0; row < count; row += 2 * TILE)
                multiply_pair(p, start + row, row + TILE < count, weights, sums + row);
            finish(p, start, count, block * LANES, 2 * LANES, sums[0]);
        }
    }
}

/* Static: of one on the stack gcc 12 leaves most unwritten, as it takes the instruction to read 8 bytes. */
static const struct {
    uint8_t palette, from_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} shapes = {
    .palette = 1,
    .bytes = {STEP, STEP, STEP, STEP, STEP, STEP, STEP, STEP},
    .rows = {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE},
};

TILES static void take_tiles(void) { _tile_loadconfig(&shapes); }

TILES static void leave_tiles(void) { _tile_release(); }

static void multiply_share(void *product) {
    const Product *p = product;
    int64_t groups = whole(p->n, GROUP * LANES) / (GROUP * LANES);
    int64_t number = p->threads > 1 ? thread_number() : 0, count = p->threads > 1 ? thread_count() : 1;
    if (p->tiles) take_tiles();
    for (int64_t group = groups * number / count; group < groups * (number + 1) / count; group++)
        if (p->tiles) multiply_group_by_tiles(p, group);
        else multiply_group(p, group);
    if (p->tiles) leave_tiles();
}

static void round_share(void *product) {
    const Product *p = product;
    int64_t number = p->threads > 1 ? thread_number() : 0, count = p->threads > 1 ? thread_count() : 1;
    for (int64_t token = p->m * number / count; token < p->m * (number + 1) / count; token++)
        round_token(p, token);
}

static void share(void (*work)(void *), Product p, int64_t multiplications) {
    if (!parallel || multiplications < WORTH_SHARING) p.threads = 1;
    if (p.threads > 1) parallel(work, &p, p.threads, 0);
    else work(&p);
}

static int compute(Product *p) {
    static __thread int8_t *buffer;
    static __thread size_t had;
    int64_t codes = p->m * p->codes, rows = whole(codes, TILE);
    size_t size = whole(rows * (p->filled + sizeof(int32_t)) + p->m * sizeof(float), 64);
    if (size > had) {
        free(buffer);
        buffer = aligned_alloc(64, size);
        had = buffer ? size : 0;
    }
    if (!buffer) return 0;
    p->rows = buffer;
    p->offsets = (int32_t *)(p->rows + rows * p->filled);
    p->x_scales = (float *)(p->offsets + rows);
    p->tiles = p->tiles && codes >= TILE;
    share(round_share, *p, 8 * codes * p->k);
    share(multiply_share, *p, codes * p->n * p->k);
    return 1;
}

static PyObject *multiply(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    long long value[11];
    (void)self;
    if (count != 11) return PyErr_Format(PyExc_TypeError, "multiply takes 11 numbers, not %zd", count);
    for (int i = 0; i < 11; i++) {
        value[i] = PyLong_AsLongLong(arguments[i]);
        if (value[i] == -1 && PyErr_Occurred()) return NULL;
    }
    Product p = {
        .weights = (const uint8_t *)value[0], .scales = (const float *)value[1],
        .bias = (const float *)value[2], .n = value[3], .k = value[4], .filled = whole(value[4], STEP),
        .codes = value[5], .x = (const float *)value[6], .y = (float *)value[7], .m = value[8],
        .threads = value[9], .tiles = value[10],
    };
    if (p.codes < 1 || p.codes > MOST_CODES)
        return PyErr_Format(PyExc_ValueError, "codes is %lld; must be 1 to %d", value[5], MOST_CODES);
    int done;
    Py_BEGIN_ALLOW_THREADS
    done = compute(&p);
    Py_END_ALLOW_THREADS
    if (!done) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *use_threads(PyObject *self, PyObject *arguments) {
    long long address[3];
    (void)self;
    if (!PyArg_ParseTuple(arguments, "LLL", address, address + 1, address + 2)) return NULL;
    parallel = (void (*)(void (*)(void *), void *, unsigned, unsigned))address[0];
    thread_number = (int (*)(void))address[1];
    thread_count = (int (*)(void))address[2];
    Py_RETURN_NONE;
}

static PyObject *ask_for_tiles(PyObject *self, PyObject *nothing) {
    (void)self, (void)nothing;
#ifdef __linux__
    const long permission = 0x1023, tile_data = 18;
    return PyBool_FromLong(!syscall(SYS_arch_prctl, permission, tile_data));
#else
    Py_RETURN_FALSE;
#endif
}

static PyMethodDef methods[] = {
    {"multiply", (PyCFunction)(void (*)(void))multiply, METH_FASTCALL,
     "multiply(weights, scales, bias or 0, n, k, codes, x, y, m, threads, tiles)\n\n"
     "Addresses of what the words say, and sizes. Raises MemoryError."},
    {"use_threads", use_threads, METH_VARARGS,
     "use_threads(GOMP_parallel, omp_get_thread_num, omp_get_num_threads)\n\n"
     "Shares work with other threads from now on, by the functions of OpenMP at these addresses."},
    {"ask_for_tiles", ask_for_tiles, METH_NOARGS,
     "Whether the system lets this process use AMX, which a CPU must have and Linux lends when asked."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModule_Create(&module); }

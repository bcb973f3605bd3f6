#include "product.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define GROUP 4 /* blocks worked on together: with few rows, that many sums must be under way at once */
#define ROWS 6  /* rows worked on together: with GROUP blocks they fill the registers */
#define STEP 64 /* of k, in a tile */
#define TILE 16 /* rows of a tile */
#define WHOLE (6 * TILE) /* rows that hold whole tokens and whole pairs of tiles for any number of codes */
#define WORTH_TILES 6 /* rows that take longer one by one than filled up to a tile */
#define MOST_CODES 3
#define FINER 254.0f
#define LEAST 1e-30f /* scale of x, so that zeros can be divided by it */
#define WORTH_SHARING (1 << 18) /* multiplications that take longer than it takes to call other threads */

#define TILES __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,amx-tile,amx-int8")))
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    const Layer *layer;
    const float *x;
    float *y;
    int64_t m, filled; /* k filled up to whole steps */
    Then then;
    int tiles;
    int8_t *codes;    /* [m * codes][filled], and rows of no meaning up to whole tiles */
    int32_t *offsets; /* [m * codes]: what the 128 adds to all products of a row */
    float *x_scales;  /* [m] */
} Product;

/* -- threads -------------------------------------------------------------------------------------------- */

static void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
static int (*thread_number)(void), (*thread_count)(void);

typedef struct {
    void (*work)(const void *, int64_t, int64_t);
    const void *data;
    int64_t items;
} Shared;

void use_threads(void *start, void *number, void *count) {
    parallel = (void (*)(void (*)(void *), void *, unsigned, unsigned))start;
    thread_number = (int (*)(void))number;
    thread_count = (int (*)(void))count;
}

static void do_share(void *shared) {
    const Shared *s = shared;
    int64_t number = thread_number(), count = thread_count();
    s->work(s->data, s->items * number / count, s->items * (number + 1) / count);
}

void share(void (*work)(const void *, int64_t, int64_t), const void *data, int64_t items, int64_t cost,
           Means means) {
    Shared shared = {work, data, items};
    if (parallel && means.threads > 1 && cost >= WORTH_SHARING) parallel(do_share, &shared, means.threads, 0);
    else work(data, 0, items);
}

/* -- codes ---------------------------------------------------------------------------------------------- */

AVX512 static void round_token(const Product *p, int64_t token) {
    const int64_t k_end = p->layer->k, codes_of_one = p->layer->codes;
    const float *x = p->x + token * k_end;
    int8_t *codes = p->codes + token * codes_of_one * p->filled;
    __m512 most = _mm512_setzero_ps();
    __mmask16 none = 0; /* lanes with something that is no number */
    for (int64_t k = 0; k < k_end; k += LANES) {
        __m512 value = _mm512_abs_ps(_mm512_maskz_loadu_ps(first(k_end - k), x + k));
        none |= _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
        most = _mm512_max_ps(most, value);
    }
    float largest = _mm512_reduce_max_ps(most);
    if (none || largest > FLT_MAX) { /* then no result of the token is a number */
        memset(codes, 0, codes_of_one * p->filled);
        memset(p->offsets + token * codes_of_one, 0, codes_of_one * sizeof(int32_t));
        p->x_scales[token] = NAN;
        return;
    }
    float scale = largest / 127 + LEAST;
    __m512i sums[MOST_CODES];
    for (int64_t code = 0; code < codes_of_one; code++) sums[code] = _mm512_setzero_si512();
    for (int64_t k = 0; k < p->filled; k += LANES) {
        __m512 rest = _mm512_maskz_loadu_ps(first(k_end - k), x + k);
        rest = _mm512_div_ps(rest, _mm512_set1_ps(scale));
        for (int64_t code = 0; code < codes_of_one; code++) {
            __m512 nearest = _mm512_roundscale_ps(rest, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
            __m512i number = _mm512_cvtps_epi32(nearest);
            _mm_storeu_si128((__m128i *)(codes + code * p->filled + k), _mm512_cvtepi32_epi8(number));
            sums[code] = _mm512_add_epi32(sums[code], number);
            rest = _mm512_mul_ps(_mm512_sub_ps(rest, nearest), _mm512_set1_ps(FINER));
        }
    }
    p->x_scales[token] = scale;
    for (int64_t code = 0; code < codes_of_one; code++)
        p->offsets[token * codes_of_one + code] = 128 * _mm512_reduce_add_epi32(sums[code]);
}

static void round_tokens(const void *product, int64_t from, int64_t to) {
    for (; from < to; from++) round_token(product, from);
}

/* -- results -------------------------------------------------------------------------------------------- */

/* Puts 16 results of a token in their place. */
AVX512 INLINE void put(const Product *p, int64_t token, int64_t column, __m512 value) {
    __mmask16 in = first(p->layer->n - column);
    float *y = p->y + token * p->layer->n + column;
    if (p->layer->bias)
        value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(in, p->layer->bias + column));
    if (p->then == ADD) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(in, y));
    if (p->then == WRITE_POSITIVE) value = _mm512_max_ps(_mm512_setzero_ps(), value); /* NaN stays */
    _mm512_mask_storeu_ps(y, in, value);
}

/* Turns sums [rows][columns] of whole tokens, from a row and a column on, into results. */
AVX512 static void finish(
    const Product *p, int64_t row, int64_t rows, int64_t column, int64_t columns, const int32_t *sums) {
    const int64_t codes = p->layer->codes;
    int64_t end = row + rows < p->m * codes ? row + rows : p->m * codes;
    for (; row < end; row += codes, sums += codes * columns) {
        __m512 x_scale = _mm512_set1_ps(p->x_scales[row / codes]);
        for (int64_t n = 0; n < columns && column + n < p->layer->n; n += LANES) {
            __mmask16 in = first(p->layer->n - column - n);
            __m512 value = _mm512_setzero_ps();
            for (int64_t code = codes - 1; code >= 0; code--) {
                __m512i sum = _mm512_loadu_si512(sums + code * columns + n);
                sum = _mm512_sub_epi32(sum, _mm512_set1_epi32(p->offsets[row + code]));
                value = _mm512_fmadd_ps(value, _mm512_set1_ps(1 / FINER), _mm512_cvtepi32_ps(sum));
            }
            __m512 scale = _mm512_maskz_loadu_ps(in, p->layer->scales + column + n);
            put(p, row / codes, column + n, _mm512_mul_ps(value, _mm512_mul_ps(x_scale, scale)));
        }
    }
}

/* -- products ------------------------------------------------------------------------------------------- */

/* Inlined with `rows` a constant, so that all sums are in registers; so is the next one. */
AVX512 INLINE void multiply_codes(
    const Product *p, int64_t row, const int rows, const uint8_t *weights, int32_t sums[][GROUP * LANES]) {
    const int8_t *codes = p->codes + row * p->filled;
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

AVX512 INLINE void multiply_floats(const Product *p, int64_t row, const int rows, int64_t group) {
    const int64_t k_end = p->layer->k;
    const float *weights = (const float *)p->layer->weights + group * GROUP * LANES * k_end;
    const float *x = p->x + row * k_end;
    __m512 sum[ROWS][GROUP];
    for (int r = 0; r < rows; r++)
        for (int g = 0; g < GROUP; g++) sum[r][g] = _mm512_setzero_ps();
    for (int64_t k = 0; k < k_end; k++) {
        __m512 w[GROUP];
        for (int g = 0; g < GROUP; g++) w[g] = _mm512_loadu_ps(weights + (g * k_end + k) * LANES);
        for (int r = 0; r < rows; r++)
            for (int g = 0; g < GROUP; g++)
                sum[r][g] = _mm512_fmadd_ps(w[g], _mm512_set1_ps(x[r * k_end + k]), sum[r][g]);
    }
    for (int r = 0; r < rows; r++)
        for (int g = 0; g < GROUP; g++) {
            int64_t column = (group * GROUP + g) * LANES;
            if (column < p->layer->n) put(p, row + r, column, sum[r][g]);
        }
}

#define BY_ROWS(LEFT, CALL)     \
    switch (LEFT) {             \
    case 1: CALL(1); break;     \
    case 2: CALL(2); break;     \
    case 3: CALL(3); break;     \
    case 4: CALL(4); break;     \
    case 5: CALL(5); break;     \
    default: CALL(ROWS);        \
    }

AVX512 static void multiply_group_of_codes(const Product *p, int64_t group) {
    const uint8_t *weights = (const uint8_t *)p->layer->weights + group * GROUP * LANES * p->filled;
    int32_t sums[ROWS][GROUP * LANES];
#define CALL(COUNT) multiply_codes(p, row, COUNT, weights, sums)
    for (int64_t row = 0, left; (left = p->m * p->layer->codes - row) > 0; row += ROWS) {
        BY_ROWS(left, CALL)
        finish(p, row, ROWS, group * GROUP * LANES, GROUP * LANES, sums[0]);
    }
#undef CALL
}

AVX512 static void multiply_group_of_floats(const Product *p, int64_t group) {
#define CALL(COUNT) multiply_floats(p, row, COUNT, group)
    for (int64_t row = 0, left; (left = p->m - row) > 0; row += ROWS) {
        BY_ROWS(left, CALL)
    }
#undef CALL
}

/* Two tiles of rows by two blocks of weights. Tiles have numbers, not names: 0 to 3 are sums, 4 and 5 codes,
   6 and 7 weights. */
TILES static void multiply_pair(
    const Product *p, int64_t row, int two, const uint8_t *weights, int32_t sums[][2 * LANES]) {
    const int8_t *codes = p->codes + row * p->filled;
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
    const int64_t rows = whole(p->m * p->layer->codes, TILE);
    int32_t sums[WHOLE][2 * LANES];
    for (int64_t block = group * GROUP; block < (group + 1) * GROUP; block += 2) {
        const uint8_t *weights = (const uint8_t *)p->layer->weights + block * LANES * p->filled;
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

static void multiply_groups(const void *product, int64_t from, int64_t to) {
    const Product *p = product;
    if (p->tiles) take_tiles();
    for (; from < to; from++)
        if (p->tiles) multiply_group_by_tiles(p, from);
        else if (p->layer->codes) multiply_group_of_codes(p, from);
        else multiply_group_of_floats(p, from);
    if (p->tiles) leave_tiles();
}

int product(const Layer *layer, const float *x, int64_t m, float *y, Then then, Means means) {
    /* Kept for the next product of the thread, which is of a like size. */
    static __thread int8_t *buffer;
    static __thread size_t had;
    Product p = {.layer = layer, .x = x, .y = y, .m = m, .filled = whole(layer->k, STEP), .then = then};
    int64_t codes = m * layer->codes;
    if (codes) {
        int64_t rows = whole(codes, TILE);
        size_t size = whole(rows * (p.filled + sizeof(int32_t)) + m * sizeof(float), 64);
        if (size > had) {
            free(buffer);
            buffer = aligned_alloc(64, size);
            had = buffer ? size : 0;
        }
        if (!buffer) return 0;
        p.codes = buffer;
        p.offsets = (int32_t *)(p.codes + rows * p.filled);
        p.x_scales = (float *)(p.offsets + rows);
        p.tiles = means.tiles && codes >= WORTH_TILES;
        share(round_tokens, &p, m, 8 * codes * layer->k, means);
    }
    int64_t cost = (codes ? codes : 4 * m) * layer->n * layer->k;
    share(multiply_groups, &p, whole(layer->n, GROUP * LANES) / (GROUP * LANES), cost, means);
    return 1;
}

int ask_for_tiles(void) {
#ifdef __linux__
    const long permission = 0x1023, tile_data = 18;
    return !syscall(SYS_arch_prctl, permission, tile_data);
#else
    return 0;
#endif
}

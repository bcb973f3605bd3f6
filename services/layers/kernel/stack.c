#include "stack.h"

#include "functions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON 1e-6f

AVX512 static float dot(const float *a, const float *b, int64_t size) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < size; i += LANES) {
        __mmask16 in = first(size - i);
        sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(in, a + i), _mm512_maskz_loadu_ps(in, b + i), sum);
    }
    return _mm512_reduce_add_ps(sum);
}

AVX512 static void normalise(const float *x, const float *weight, int64_t tokens, int64_t width, float *y) {
    for (; tokens--; x += width, y += width) {
        __m512 scale = _mm512_set1_ps(1 / sqrtf(dot(x, x, width) / width + EPSILON));
        for (int64_t i = 0; i < width; i += LANES) {
            __mmask16 in = first(width - i);
            __m512 value = _mm512_mul_ps(_mm512_maskz_loadu_ps(in, x + i), scale);
            _mm512_mask_storeu_ps(y + i, in, _mm512_mul_ps(value, _mm512_maskz_loadu_ps(in, weight + i)));
        }
    }
}

AVX512 static int64_t likeliest(const float *logits, int64_t count) {
    __m512 most = _mm512_set1_ps(-INFINITY);
    for (int64_t i = 0; i < count; i += LANES)
        most = _mm512_mask_max_ps(most, first(count - i), most, _mm512_maskz_loadu_ps(first(count - i), logits + i));
    float wanted = _mm512_reduce_max_ps(most);
    for (int64_t i = 0; i < count; i++)
        if (logits[i] == wanted) return i;
    return 0; /* where some are no numbers */
}

typedef struct {
    const Stack *stack;
    const Pass *pass;
    int64_t layer;
    const float *queries; /* [rows * fed], `apart` from one to the next */
    int64_t apart;
    float *mixed; /* [rows * fed][inner] */
} Attention;

#define AT_ONCE 4 /* registers of sums under way */

/* scores[count] of a query on keys [size][apart]. They are not scaled in T5. Returns the largest one. */
AVX512 static float score(const float *query, const float *keys, int64_t apart, int64_t count, int64_t size,
                          const float *biases, float *scores) {
    __m512 most = _mm512_set1_ps(-INFINITY);
    for (int64_t key = 0; key < count; key += AT_ONCE * LANES) {
        __m512 sum[AT_ONCE];
        __mmask16 in[AT_ONCE];
        for (int a = 0; a < AT_ONCE; a++) {
            in[a] = first(count - key - a * LANES);
            sum[a] = _mm512_maskz_loadu_ps(in[a], biases + key + a * LANES);
        }
        for (int64_t i = 0; i < size; i++)
            for (int a = 0; a < AT_ONCE; a++) {
                __m512 of_keys = _mm512_maskz_loadu_ps(in[a], keys + i * apart + key + a * LANES);
                sum[a] = _mm512_fmadd_ps(_mm512_set1_ps(query[i]), of_keys, sum[a]);
            }
        for (int a = 0; a < AT_ONCE; a++) {
            _mm512_mask_storeu_ps(scores + key + a * LANES, in[a], sum[a]);
            most = _mm512_mask_max_ps(most, in[a], most, sum[a]);
        }
    }
    return _mm512_reduce_max_ps(most);
}

/* Turns scores into weights whose sum it returns. */
AVX512 static float weigh(float *scores, int64_t count, float most) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t key = 0; key < count; key += LANES) {
        __mmask16 in = first(count - key);
        __m512 score = _mm512_sub_ps(_mm512_maskz_loadu_ps(in, scores + key), _mm512_set1_ps(most));
        __m512 weight = exponential(score);
        _mm512_mask_storeu_ps(scores + key, in, weight);
        sum = _mm512_mask_add_ps(sum, in, sum, weight);
    }
    return _mm512_reduce_add_ps(sum);
}

/* mixed[size] = values [count][size], by weight */
AVX512 static void mix(const float *weights, float sum, const float *values, int64_t count, int64_t size,
                       float *mixed) {
    for (int64_t i = 0; i < size; i += AT_ONCE * LANES) {
        __m512 total[AT_ONCE];
        for (int a = 0; a < AT_ONCE; a++) total[a] = _mm512_setzero_ps();
        for (int64_t key = 0; key < count; key++)
            for (int a = 0; a < AT_ONCE; a++) {
                const float *value = values + key * size + i + a * LANES;
                __m512 of_key = _mm512_maskz_loadu_ps(first(size - i - a * LANES), value);
                total[a] = _mm512_fmadd_ps(_mm512_set1_ps(weights[key]), of_key, total[a]);
            }
        for (int a = 0; a < AT_ONCE; a++) {
            __m512 value = _mm512_div_ps(total[a], _mm512_set1_ps(sum));
            _mm512_mask_storeu_ps(mixed + i + a * LANES, first(size - i - a * LANES), value);
        }
    }
}

static void attend(const float *query, const float *keys, const float *values, int64_t apart, int64_t count,
                   int64_t size, const float *biases, float *mixed) {
    float scores[count];
    float most = score(query, keys, apart, count, size, biases, scores);
    mix(scores, weigh(scores, count, most), values, count, size, mixed);
}

/* Items are heads of rows. */
static void attend_text(const void *attention, int64_t from, int64_t to) {
    const Attention *a = attention;
    const Stack *s = a->stack;
    const Pass *p = a->pass;
    const int64_t size = s->inner / s->heads, of_slot = p->longest * size;
    for (; from < to; from++) {
        int64_t row = from / s->heads, head = from % s->heads;
        int64_t place = ((a->layer * p->slots + row) * s->heads + head) * of_slot;
        float *keys = p->text_keys + place, *values = p->text_values + place;
        for (int64_t fed = 0; fed < p->fed; fed++) {
            int64_t token = row * p->fed + fed, position = p->starts[row] + fed;
            const float *query = a->queries + token * a->apart + head * size;
            for (int64_t i = 0; i < size; i++) keys[i * p->longest + position] = query[s->inner + i];
            memcpy(values + position * size, query + 2 * s->inner, size * sizeof(float));
            const float *biases = s->bias + (head * p->longest + position) * p->longest;
            float *mixed = a->mixed + token * s->inner + head * size;
            attend(query, keys, values, p->longest, position + 1, size, biases, mixed);
        }
    }
}

static void attend_memory(const void *attention, int64_t from, int64_t to) {
    const Attention *a = attention;
    const Stack *s = a->stack;
    const Pass *p = a->pass;
    const int64_t size = s->inner / s->heads, of_slot = p->longest_memory * size;
    for (; from < to; from++) {
        int64_t row = from / s->heads, head = from % s->heads;
        int64_t place = ((a->layer * p->slots + row) * s->heads + head) * of_slot;
        const float *biases = p->memory_bias + row * p->longest_memory;
        for (int64_t token = row * p->fed; token < (row + 1) * p->fed; token++)
            attend(a->queries + token * a->apart + head * size, p->memory_keys + place,
                   p->memory_values + place, p->longest_memory, p->memory_lengths[row], size, biases,
                   a->mixed + token * s->inner + head * size);
    }
}

/* up *= gelu(gate), by the approximation with tanh that T5 v1.1 was trained with */
static void open_gate(float *up, const float *gate, int64_t size) {
    for (int64_t i = 0; i < size; i++) {
        float g = gate[i];
        up[i] *= 0.5f * g * (1 + tanhf(0.7978845608f * (g + 0.044715f * g * g * g)));
    }
}

/* Buffers of a pass over some tokens. */
typedef struct {
    float *x, *normed, *mixed, *wide, *gate, *logits;
} Room;

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static int make_room(const Stack *s, int64_t tokens, Room *room) {
    /* Kept for the next pass of the thread, which is of a like size. */
    static __thread float *buffer;
    static __thread int64_t had;
    const int64_t wide = most(most(3 * s->inner, s->feed_forward), s->width);
    const int64_t size = tokens * (2 * s->width + s->inner + wide + s->feed_forward + s->head.n);
    if (size > had) {
        free(buffer);
        buffer = malloc(size * sizeof(float));
        had = buffer ? size : 0;
    }
    room->x = buffer;
    room->normed = room->x + tokens * s->width;
    room->mixed = room->normed + tokens * s->width;
    room->wide = room->mixed + tokens * s->inner;
    room->gate = room->wide + tokens * wide;
    room->logits = room->gate + tokens * s->feed_forward;
    return buffer != NULL;
}

static int run_block(const Stack *s, const Pass *p, int64_t layer, const Room *room) {
    const Block *block = s->blocks + layer;
    const int64_t tokens = p->rows * p->fed;
    Attention a = {s, p, layer, room->wide, 3 * s->inner, room->mixed};
    normalise(room->x, block->norm_text, tokens, s->width, room->normed);
    int done = product(&block->qkv, room->normed, tokens, room->wide, WRITE, p->means);
    share(attend_text, &a, p->rows * s->heads, 4 * tokens * s->inner * p->longest, p->means);
    done &= product(&block->out, room->mixed, tokens, room->x, ADD, p->means);

    a.apart = s->inner;
    normalise(room->x, block->norm_memory, tokens, s->width, room->normed);
    done &= product(&block->query_memory, room->normed, tokens, room->wide, WRITE, p->means);
    share(attend_memory, &a, p->rows * s->heads, 8 * tokens * s->inner * p->longest_memory, p->means);
    done &= product(&block->out_memory, room->mixed, tokens, room->x, ADD, p->means);

    normalise(room->x, block->norm_feed, tokens, s->width, room->normed);
    if (block->gate.weights) {
        done &= product(&block->up, room->normed, tokens, room->wide, WRITE, p->means);
        done &= product(&block->gate, room->normed, tokens, room->gate, WRITE, p->means);
        open_gate(room->wide, room->gate, tokens * s->feed_forward);
    } else {
        done &= product(&block->up, room->normed, tokens, room->wide, WRITE_POSITIVE, p->means);
    }
    return done & product(&block->down, room->wide, tokens, room->x, ADD, p->means);
}

int run_pass(const Stack *s, const Pass *p) {
    const int64_t tokens = p->rows * p->fed;
    Room room;
    if (!make_room(s, tokens, &room)) return 0;
    for (int64_t token = 0; token < tokens; token++)
        memcpy(room.x + token * s->width, s->words + p->tokens[token] * s->width, s->width * sizeof(float));
    for (int64_t layer = 0; layer < s->layers; layer++)
        if (!run_block(s, p, layer, &room)) return 0;
    normalise(room.x, s->norm, tokens, s->width, room.normed);
    if (!product(&s->head, room.normed, tokens, room.logits, WRITE, p->means)) return 0;
    for (int64_t token = 0; token < tokens; token++)
        p->likeliest[token] = likeliest(room.logits + token * s->head.n, s->head.n);
    return 1;
}

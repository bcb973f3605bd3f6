#include "stack.h"

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

/* to += by * from */
AVX512 static void add_times(float *to, float by, const float *from, int64_t size) {
    for (int64_t i = 0; i < size; i += LANES) {
        __mmask16 in = first(size - i);
        __m512 sum = _mm512_maskz_loadu_ps(in, to + i);
        sum = _mm512_fmadd_ps(_mm512_set1_ps(by), _mm512_maskz_loadu_ps(in, from + i), sum);
        _mm512_mask_storeu_ps(to + i, in, sum);
    }
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
    return 0; /* only where all are NaN */
}

typedef struct {
    const Stack *stack;
    const Pass *pass;
    int64_t layer;
    const float *queries; /* [rows * fed], `apart` from one to the next */
    int64_t apart;
    float *mixed; /* [rows * fed][inner] */
} Attention;

/* Mixes the values of `count` keys. Scores are not scaled in T5; their biases may be NULL. */
static void attend(const float *query, const float *keys, const float *values, int64_t count, int64_t size,
                   const float *biases, float *mixed) {
    float scores[count], most = -INFINITY, sum = 0;
    for (int64_t key = 0; key < count; key++) {
        scores[key] = dot(query, keys + key * size, size) + (biases ? biases[key] : 0);
        most = scores[key] > most ? scores[key] : most;
    }
    for (int64_t key = 0; key < count; key++) sum += scores[key] = expf(scores[key] - most);
    memset(mixed, 0, size * sizeof(float));
    for (int64_t key = 0; key < count; key++) add_times(mixed, scores[key] / sum, values + key * size, size);
}

/* Items are heads of rows. */
static void attend_text(const void *attention, int64_t from, int64_t to) {
    const Attention *a = attention;
    const Stack *s = a->stack;
    const Pass *p = a->pass;
    const int64_t size = s->inner / s->heads, of_slot = p->longest * size, of_kind = p->slots * s->heads * of_slot;
    for (; from < to; from++) {
        int64_t row = from / s->heads, head = from % s->heads;
        float *keys = p->text + 2 * a->layer * of_kind + (row * s->heads + head) * of_slot;
        float *values = keys + of_kind;
        for (int64_t fed = 0; fed < p->fed; fed++) {
            int64_t token = row * p->fed + fed, position = p->starts[row] + fed;
            const float *query = a->queries + token * a->apart + head * size;
            memcpy(keys + position * size, query + s->inner, size * sizeof(float));
            memcpy(values + position * size, query + 2 * s->inner, size * sizeof(float));
            const float *biases = s->bias + (head * p->longest + position) * p->longest;
            float *mixed = a->mixed + token * s->inner + head * size;
            attend(query, keys, values, position + 1, size, biases, mixed);
        }
    }
}

static void attend_memory(const void *attention, int64_t from, int64_t to) {
    const Attention *a = attention;
    const Stack *s = a->stack;
    const Pass *p = a->pass;
    const int64_t size = s->inner / s->heads, of_slot = p->longest_memory * size,
                  of_kind = p->slots * s->heads * of_slot;
    for (; from < to; from++) {
        int64_t row = from / s->heads, head = from % s->heads;
        const float *keys = p->memory + 2 * a->layer * of_kind + (row * s->heads + head) * of_slot;
        const float *biases = p->memory_bias + row * p->longest_memory;
        for (int64_t token = row * p->fed; token < (row + 1) * p->fed; token++)
            attend(a->queries + token * a->apart + head * size, keys, keys + of_kind, p->memory_lengths[row],
                   size, biases, a->mixed + token * s->inner + head * size);
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

/* A pass of a T5 decoder: some tokens of some rows in, the likeliest token after each of them out. */

#ifndef NEXTVEC_STACK_H
#define NEXTVEC_STACK_H

#include "product.h"

/* All fields of these take 8 bytes: Python hands them over as arrays of numbers. */

typedef struct {
    const float *norm_text;
    Layer qkv, out;
    const float *norm_memory;
    Layer query_memory, out_memory;
    const float *norm_feed;
    Layer gate, up, down; /* weights of `gate` are NULL where the feed-forward has none */
} Block;

typedef struct {
    int64_t width, inner, heads, feed_forward;
    const float *words; /* [vocabulary][width] */
    const float *bias;  /* [heads][longest][longest]: of a query on a key, by position */
    const float *norm;
    Layer head;
    int64_t layers;
    Block blocks[];
} Stack;

/* The rows being written, and what of them is fed. Buffers of values are
   [layers][slots][heads][longest or longest_memory][inner / heads]; those of keys have the last two axes the
   other way round, so that a query meets many keys at once. */
typedef struct {
    int64_t rows, fed;
    const int64_t *tokens; /* [rows][fed] */
    const int64_t *starts; /* [rows]: position of the first token fed */
    float *text_keys, *text_values;
    const float *memory_keys, *memory_values;
    const float *memory_bias;      /* [slots][longest_memory] */
    const int64_t *memory_lengths; /* [rows] */
    int64_t slots, longest, longest_memory;
    int64_t *likeliest; /* [rows][fed] */
    Means means;
} Pass;

/* 0 where there is no memory. */
int run_pass(const Stack *stack, const Pass *pass);

#endif

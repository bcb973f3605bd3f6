/* Products of activations and weights, and work that threads share. */

#ifndef NEXTVEC_PRODUCT_H
#define NEXTVEC_PRODUCT_H

#if !defined(__x86_64__) || !defined(__GNUC__)
#error "these products are for x86-64, and for gcc or clang; the project does without them"
#endif

#include <immintrin.h>
#include <stdint.h>

#define LANES 16 /* numbers in a register */

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

/* y[m][n] = sum over k of x[m][k] * w[n][k], + bias[n].

   With codes, a row of w is whole numbers from -127 to 127 times a scale, and x is rounded to the sum of one
   to three such numbers, its codes, each on a scale 254 times as fine as the one before. Codes are multiplied
   and added up in whole numbers, without error, so that a token's result depends on nothing else in the call.
   Without codes, w and x are in single precision.

   `services.layers.compiled` lays weights out in blocks of 16 rows, as the instructions read them: with codes
   [N/16][K/4][16][4] and 128 added, N filled up to multiples of 64 and K too; without, [N/16][K][16].

   All fields take 8 bytes: Python hands them over as an array of numbers. */
typedef struct {
    const void *weights;
    const float *scales, *bias; /* [n]; scales where there are codes, a bias or NULL */
    int64_t n, k, codes;
} Layer;

/* What becomes of the results. */
typedef enum { WRITE, ADD, WRITE_POSITIVE } Then;

/* How many threads may work, and whether products may use AMX. */
typedef struct {
    int64_t threads, tiles;
} Means;

/* x [m][k] to y [m][n]; 0 where there is no memory. */
int product(const Layer *layer, const float *x, int64_t m, float *y, Then then, Means means);

/* Has threads do `work` on all of `items`, each on some; `cost` is what it takes in all, in multiplications. */
void share(void (*work)(const void *, int64_t from, int64_t to), const void *data, int64_t items, int64_t cost,
           Means means);

/* The pool of threads that torch has: a second one would stand in its way. */
void use_threads(void *parallel, void *number, void *count);

/* Whether the system lets this process use AMX, which Linux lends when asked. */
int ask_for_tiles(void);

/* The first `count` lanes. */
static inline __mmask16 first(int64_t count) {
    return count >= LANES ? 0xffff : count > 0 ? (1u << count) - 1 : 0;
}

/* `count` filled up to a multiple. */
static inline int64_t whole(int64_t count, int64_t of) { return (count + of - 1) / of * of; }

#endif

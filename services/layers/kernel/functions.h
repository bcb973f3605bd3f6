/* Functions of 16 numbers at a time. */

#ifndef NEXTVEC_FUNCTIONS_H
#define NEXTVEC_FUNCTIONS_H

#include "product.h"

/* exp, to two units in the last place: 2**n times a polynomial of what is left, |left| <= ln(2) / 2. Beyond
   where exp is nothing, or more than a number can be, x is brought back to there; NaN stays. */
AVX512 static inline __m512 exponential(__m512 x) {
    const float factorials[] = {1 / 720.0f, 1 / 120.0f, 1 / 24.0f, 1 / 6.0f, 0.5f, 1, 1};
    x = _mm512_max_ps(_mm512_set1_ps(-104), _mm512_min_ps(_mm512_set1_ps(89), x));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
    __m512 left = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    left = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), left);
    __m512 sum = _mm512_setzero_ps();
    for (int i = 0; i < 7; i++) sum = _mm512_fmadd_ps(sum, left, _mm512_set1_ps(factorials[i]));
    return _mm512_scalef_ps(sum, n);
}

AVX512 static inline __m512 sigmoid(__m512 x) {
    const __m512 one = _mm512_set1_ps(1);
    return _mm512_div_ps(one, _mm512_add_ps(one, exponential(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

AVX512 static inline __m512 hyperbolic_tangent(__m512 x) {
    const __m512 two = _mm512_set1_ps(2);
    return _mm512_sub_ps(_mm512_mul_ps(two, sigmoid(_mm512_mul_ps(two, x))), _mm512_set1_ps(1));
}

#endif

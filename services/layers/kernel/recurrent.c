#include "recurrent.h"

#include "functions.h"

#include <stdlib.h>
#include <string.h>

#define LSTM_GATES 4

#define AT(FROM, GATE) _mm512_maskz_loadu_ps(in, (FROM) + (GATE) * width + i)

/* A step of one sequence: from gates and memory to the state and what is remembered. */
AVX512 static void step_lstm(const float *gates, int64_t width, float *memory, float *state) {
    for (int64_t i = 0; i < width; i += LANES) {
        __mmask16 in = first(width - i);
        __m512 remembered = _mm512_mul_ps(sigmoid(AT(gates, 1)), AT(memory, 0));
        remembered = _mm512_fmadd_ps(sigmoid(AT(gates, 0)), hyperbolic_tangent(AT(gates, 2)), remembered);
        _mm512_mask_storeu_ps(memory + i, in, remembered);
        _mm512_mask_storeu_ps(state + i, in, _mm512_mul_ps(sigmoid(AT(gates, 3)), hyperbolic_tangent(remembered)));
    }
}

/* The same of a GRU, whose gates of inputs and of the state come apart. */
AVX512 static void step_gru(const float *inputs, const float *held, int64_t width, const float *before, float *state) {
    for (int64_t i = 0; i < width; i += LANES) {
        __mmask16 in = first(width - i);
        __m512 reset = sigmoid(_mm512_add_ps(AT(inputs, 0), AT(held, 0)));
        __m512 keep = sigmoid(_mm512_add_ps(AT(inputs, 1), AT(held, 1)));
        __m512 new = hyperbolic_tangent(_mm512_fmadd_ps(reset, AT(held, 2), AT(inputs, 2)));
        __m512 kept = _mm512_mul_ps(keep, _mm512_sub_ps(AT(before, 0), new));
        _mm512_mask_storeu_ps(state + i, in, _mm512_add_ps(new, kept));
    }
}

/* What comes of a state of zeros. */
static void hold_nothing(const Layer *state, float *held) {
    if (state->bias) memcpy(held, state->bias, state->n * sizeof(float));
    else memset(held, 0, state->n * sizeof(float));
}

int run_recurrent(const Recurrent *layer, const float *x, int64_t batch, int64_t steps, float *states, Means means) {
    const int64_t width = layer->width, all = layer->gates * width;
    /* What comes of the inputs, of the states before, and the states and memories that steps carry on. */
    float *inputs = malloc((batch * steps * all + batch * (all + 2 * width)) * sizeof(float));
    if (!inputs) return 0;
    float *held = inputs + batch * steps * all, *carried = held + batch * all, *memory = carried + batch * width;
    memset(carried, 0, 2 * batch * width * sizeof(float));
    int done = product(&layer->inputs, x, batch * steps, inputs, WRITE, means);
    for (int64_t step = 0; done && step < steps; step++) {
        if (step) done = product(&layer->state, carried, batch, held, WRITE, means);
        for (int64_t row = 0; done && row < batch; row++) {
            if (!step) hold_nothing(&layer->state, held + row * all);
            float *of_inputs = inputs + (row * steps + step) * all, *of_state = held + row * all;
            float *state = states + (row * steps + step) * width, *before = carried + row * width;
            if (layer->gates == LSTM_GATES) {
                for (int64_t i = 0; i < all; i++) of_inputs[i] += of_state[i];
                step_lstm(of_inputs, width, memory + row * width, state);
            } else {
                step_gru(of_inputs, of_state, width, before, state);
            }
            memcpy(before, state, width * sizeof(float));
        }
    }
    free(inputs);
    return done;
}

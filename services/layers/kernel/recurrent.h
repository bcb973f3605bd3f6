/* One layer of a recurrent network over whole sequences. */

#ifndef NEXTVEC_RECURRENT_H
#define NEXTVEC_RECURRENT_H

#include "product.h"

/* What comes of the inputs and what comes of the state before, gates in torch's order: of an LSTM [4 * width]
   let in, keep, new, let out; of a GRU [3 * width] reset, keep, new. All fields take 8 bytes: Python hands
   them over as an array of numbers. */
typedef struct {
    int64_t gates, width;
    Layer inputs, state;
} Recurrent;

/* x [batch][steps][inputs.k] to states [batch][steps][width]; 0 where there is no memory. */
int run_recurrent(const Recurrent *layer, const float *x, int64_t batch, int64_t steps, float *states, Means means);

#endif

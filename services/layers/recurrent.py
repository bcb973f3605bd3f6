"""Recurrent layers by the compiled kernel."""

from array import array
from typing import TypeGuard

from torch import Tensor, nn

from services.layers import CodesOf, compiled, exact
from services.layers.compiled import Weights

_GATES = {nn.LSTM: 4, nn.GRU: 3}


class CompiledRecurrent(nn.Module):
    """What stands for a plain `torch.nn.LSTM` or `GRU`, without the states that it ends in."""

    def __init__(self, recurrent: nn.LSTM | nn.GRU, codes_of: CodesOf = exact):
        """Copies the weights. `stands_for` says what it can stand for."""
        super().__init__()
        self._width, self._columns = recurrent.hidden_size, recurrent.input_size
        self._kept: list[Weights] = []
        self._layers = []
        for layer in range(recurrent.num_layers):
            inputs, state = (self._weights(recurrent, f"{side}_l{layer}", codes_of) for side in ("ih", "hh"))
            self._layers.append(array("q", (_GATES[type(recurrent)], self._width, *inputs, *state)))

    @staticmethod
    def stands_for(part: nn.Module) -> TypeGuard[nn.LSTM | nn.GRU]:
        """Whether a module goes in one direction, batch first, and has nothing out of the ordinary."""
        # What is derived from them may do something else.
        if type(part) is not nn.LSTM and type(part) is not nn.GRU:
            return False
        return part.batch_first and part.bias and not part.bidirectional and not part.proj_size

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """x [B, T, D] → states [B, T, W], float32. Raises ValueError for another width or type."""
        x = compiled.readable(x, self._columns)
        for layer in self._layers:
            batch, steps, _ = x.shape
            states = x.new_empty(batch, steps, self._width)
            compiled.kernel.run_recurrent(
                compiled.address_of_array(layer),
                x.data_ptr(),
                batch,
                steps,
                states.data_ptr(),
                *compiled.means(),
            )
            x = states
        return x, None

    def _weights(self, recurrent: nn.RNNBase, side: str, codes_of: CodesOf) -> tuple[int, ...]:
        weight = getattr(recurrent, f"weight_{side}")
        weights = Weights(weight, getattr(recurrent, f"bias_{side}"), codes_of(weight))
        self._kept.append(weights)
        return weights.numbers

"""Recurrent layers by the compiled kernel are torch's own."""

import pytest
import torch
from torch import nn

from services.layers.compiled import unusable
from services.layers.recurrent import CompiledRecurrent

pytestmark = pytest.mark.skipif(bool(unusable()), reason=unusable())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize(("width", "layers"), [(32, 1), (20, 3), (512, 2)])
@pytest.mark.parametrize("shape", [(1, 5), (7, 5), (3, 1)])
def test_states_are_those_of_torch(kind, width, layers, shape):
    torch.manual_seed(0)
    recurrent = kind(24, width, layers, batch_first=True).requires_grad_(False).eval()
    x = 3 * torch.randn(*shape, 24)
    states, _ = CompiledRecurrent(recurrent)(x)
    torch.testing.assert_close(states, recurrent(x)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("far", [1e4, 1e20, 1e35])
def test_gates_that_are_far_open_or_shut_stay_numbers(far):
    torch.manual_seed(0)
    recurrent = nn.LSTM(8, 16, batch_first=True).requires_grad_(False).eval()
    x = far * torch.randn(2, 5, 8)
    states, _ = CompiledRecurrent(recurrent)(x)
    torch.testing.assert_close(states, recurrent(x)[0], rtol=1e-4, atol=1e-4)


def test_sequences_of_another_width_are_refused():
    with pytest.raises(ValueError, match="must be float32"):
        CompiledRecurrent(nn.GRU(8, 16, batch_first=True))(torch.zeros(1, 5, 16))


@pytest.mark.parametrize(
    "other",
    [
        nn.LSTM(8, 8),
        nn.LSTM(8, 8, batch_first=True, bidirectional=True),
        nn.LSTM(8, 8, batch_first=True, proj_size=4),
        nn.GRU(8, 8, batch_first=True, bias=False),
        nn.RNN(8, 8, batch_first=True),
        nn.Linear(8, 8),
    ],
    ids=["steps first", "both ways", "projected", "no bias", "plain", "linear"],
)
def test_what_is_otherwise_is_left_alone(other):
    assert not CompiledRecurrent.stands_for(other)

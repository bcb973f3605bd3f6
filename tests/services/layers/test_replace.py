"""What stands for a linear layer computes the same."""

import pytest
import torch
from torch import nn

from services.layers import for_few, for_many, int8, packed, replace


def network(eight_bits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Sequential(nn.Linear(40, 8, bias=False)))
    if eight_bits:
        for parameter in model.parameters():
            if parameter.dim() == 2:
                scales = parameter.data.abs().amax(1, keepdim=True) / 127
                parameter.data = (parameter.data / scales).round() * scales
    return model.eval().requires_grad_(False)


needs_onednn = pytest.mark.skipif(not packed.PackedLinear.usable(), reason="torch lacks oneDNN")


@needs_onednn
@pytest.mark.parametrize("make", [for_few, for_many])
@pytest.mark.parametrize("eight_bits", [True, False])
@pytest.mark.parametrize("shape", [(1, 24), (2, 3, 24), (300, 24)])
def test_a_model_of_fast_layers_gives_the_same(make, eight_bits, shape):
    model, x = network(eight_bits), torch.randn(shape)
    wanted = model(x)
    replace(model, make)
    assert not any(isinstance(module, nn.Linear) for module in model.modules())
    torch.testing.assert_close(model(x), wanted, rtol=1e-5, atol=1e-5)


@needs_onednn
def test_a_machine_without_the_instructions_keeps_single_precision(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert isinstance(for_few(network(True)[0]), packed.PackedLinear)


def test_a_torch_without_either_keeps_its_own_layer(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    layer = network(True)[0]
    assert for_few(layer) is for_many(layer) is layer


@needs_onednn
@pytest.mark.skipif(bool(int8.unusable()), reason=int8.unusable())
def test_weights_of_8_bits_are_read_as_such_for_few_tokens():
    assert isinstance(for_few(network(True)[0]), int8.ExactInt8Linear)
    assert isinstance(for_few(network(False)[0]), packed.PackedLinear)
    assert isinstance(for_many(network(True)[0]), packed.PackedLinear)


def test_layers_that_other_modules_read_the_weights_of_are_left_alone():
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2, batch_first=True)}).eval()
    x = torch.randn(1, 3, 8)
    wanted = model["attention"](x, x, x)[0]
    replace(model, for_few)
    torch.testing.assert_close(model["attention"](x, x, x)[0], wanted)

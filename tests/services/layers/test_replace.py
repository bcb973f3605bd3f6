"""What stands for a linear layer computes the same."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from services.layers import compiled, fast, packed, replace
from services.layers.linear import CompiledLinear


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


@pytest.mark.parametrize("compiling", [True, False])
@pytest.mark.parametrize("eight_bits", [True, False])
@pytest.mark.parametrize("shape", [(1, 24), (2, 3, 24), (300, 24)])
def test_a_model_of_fast_layers_gives_the_same(compiling, eight_bits, shape, monkeypatch):
    if not compiling:
        monkeypatch.setattr(compiled, "kernel", None)
    model, x = network(eight_bits), torch.randn(shape)
    wanted = model(x)
    replace(model)
    torch.testing.assert_close(model(x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(bool(compiled.unusable()), reason=compiled.unusable())
def test_the_kernel_is_taken_where_it_runs():
    assert isinstance(fast(network(True)[0]), CompiledLinear)


@needs_onednn
def test_a_machine_without_the_instructions_keeps_single_precision(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert isinstance(fast(network(True)[0]), packed.PackedLinear)


@needs_onednn
def test_an_installation_without_a_compiler_keeps_single_precision(monkeypatch):
    monkeypatch.setattr(compiled, "kernel", None)
    assert "C compiler" in compiled.unusable()
    assert isinstance(fast(network(True)[0]), packed.PackedLinear)


def test_a_kernel_of_another_version_is_not_used(monkeypatch):
    monkeypatch.setattr(compiled, "kernel", SimpleNamespace(EDITION=0))
    assert "another version" in compiled.unusable()


def test_a_torch_without_either_keeps_its_own_layer(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    layer = network(True)[0]
    assert fast(layer) is layer


def test_layers_that_other_modules_read_the_weights_of_are_left_alone():
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2, batch_first=True)}).eval()
    x = torch.randn(1, 3, 8)
    wanted = model["attention"](x, x, x)[0]
    replace(model)
    torch.testing.assert_close(model["attention"](x, x, x)[0], wanted)

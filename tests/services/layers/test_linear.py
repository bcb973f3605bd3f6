"""Linear layers by the compiled kernel: what single precision gives, or near it."""

import copy

import pytest
import torch
from torch import nn

from services.layers import compiled
from services.layers.compiled import EXACT, FLOATS, exact, has_8_bits, unusable
from services.layers.linear import CompiledLinear

needs_kernel = pytest.mark.skipif(bool(unusable()), reason=unusable())
CODES = [FLOATS, 1, 2, EXACT]
SHAPES = [(64, 48), (100, 70), (7, 3), (384, 384), (72, 768)]
ERROR = {FLOATS: 1e-6, 1: 0.02, 2: 1e-4, EXACT: 1e-6}
"""Relative, where the weights have 8 bits."""


def weight_of_8_bits(*shape):
    codes = torch.randint(-127, 128, shape).float()
    codes[:, 0] = 127
    return codes * torch.rand(shape[0], 1)


def off(found, wanted):
    return ((found - wanted).norm() / wanted.norm()).item()


@needs_kernel
@pytest.mark.parametrize("tiles", [0, 1])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_is_near_the_exact_one(shape, codes, threads, tiles, monkeypatch):
    if tiles and not compiled.means()[1]:
        pytest.skip("this CPU has no AMX")
    monkeypatch.setattr(compiled, "means", lambda: (threads, tiles))
    torch.manual_seed(0)
    weight, bias = weight_of_8_bits(*shape), torch.randn(shape[0])
    layer = CompiledLinear(weight, bias, codes)
    for tokens in (1, 2, 3, 5, 6, 7, 16, 33, 100):
        x = torch.randn(tokens, shape[1])
        wanted = x.double() @ weight.double().T + bias
        assert off(layer(x), wanted) < ERROR[codes], tokens


@needs_kernel
def test_products_large_enough_to_be_shared_are_those_of_one_thread(monkeypatch):
    torch.manual_seed(0)
    layer, x = CompiledLinear(torch.randn(2048, 768), None, EXACT), torch.randn(40, 768)
    found = {}
    for threads in (1, 2, 3):
        monkeypatch.setattr(compiled, "means", lambda: (threads, 0))  # noqa: B023
        found[threads] = layer(x)
    assert torch.equal(found[1], found[2])
    assert torch.equal(found[1], found[3])


@needs_kernel
@pytest.mark.parametrize("shape", [(5, 48), (2, 3, 48)])
def test_results_have_the_shape_of_what_comes_in(shape):
    assert CompiledLinear(torch.randn(64, 48), None, 1)(torch.randn(shape)).shape == (*shape[:-1], 64)


@needs_kernel
@pytest.mark.parametrize("codes", CODES)
def test_what_lies_otherwise_in_memory_is_the_same(codes):
    torch.manual_seed(0)
    layer, x = CompiledLinear(torch.randn(16, 48), None, codes), torch.randn(48, 5)
    assert torch.equal(layer(x.T), layer(x.T.contiguous()))


@needs_kernel
def test_weights_that_were_rounded_before_are_not_rounded_again():
    torch.manual_seed(0)
    weight = weight_of_8_bits(16, 32)
    x = torch.eye(32)  # each of 1 is a code of its own, so that no activation is rounded either
    torch.testing.assert_close(CompiledLinear(weight, None, 1)(x), weight.T, rtol=1e-5, atol=1e-6)


@needs_kernel
@pytest.mark.parametrize("tokens", [6, 40])
@pytest.mark.parametrize("codes", [1, 2, EXACT])
def test_a_tokens_states_do_not_depend_on_the_others_in_its_pass(codes, tokens):
    torch.manual_seed(0)
    layer, x = CompiledLinear(torch.randn(64, 48), None, codes), torch.randn(tokens, 48)
    alone = torch.cat([layer(row[None]) for row in x])
    x[5] *= 1e6
    assert torch.equal(layer(x)[:5], alone[:5])


@needs_kernel
@pytest.mark.parametrize("codes", CODES)
def test_a_layer_takes_zeros(codes):
    assert CompiledLinear(torch.zeros(8, 16), None, codes)(torch.zeros(2, 16)).tolist() == [[0.0] * 8] * 2


@needs_kernel
@pytest.mark.parametrize("codes", CODES)
def test_a_layer_takes_no_tokens(codes):
    assert CompiledLinear(torch.randn(8, 16), None, codes)(torch.empty(0, 16)).shape == (0, 8)


@needs_kernel
@pytest.mark.parametrize("codes", CODES)
def test_a_bias_is_added_once(codes):
    torch.manual_seed(0)
    layer, x = nn.Linear(16, 8), torch.randn(3, 16)
    difference = CompiledLinear.of(layer, codes)(x) - CompiledLinear(layer.weight, None, codes)(x)
    torch.testing.assert_close(difference, layer.bias.expand(3, 8), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale_type", [torch.float16, torch.float32])
def test_weights_are_known_to_have_8_bits_or_more(scale_type):
    torch.manual_seed(0)
    codes = torch.randint(-127, 128, (64, 48)).float()
    codes[:, 0] = 127
    codes[3] = 0
    weight = codes * torch.rand(64, 1).to(scale_type).float()
    assert has_8_bits(weight)
    assert exact(weight) == EXACT
    weight[5, 7] *= 1.001
    assert not has_8_bits(weight)
    assert exact(weight) == FLOATS


@needs_kernel
@pytest.mark.parametrize(("outlier", "most"), [(1.0, 1e-6), (1e3, 1e-5)])
def test_one_large_activation_takes_little_from_the_others(outlier, most):
    torch.manual_seed(0)
    weight, x = weight_of_8_bits(64, 768), torch.randn(8, 768)
    x[:, 5] *= outlier
    wanted = x.double() @ weight.double().T
    assert off(CompiledLinear(weight, None, EXACT)(x), wanted) < most


@needs_kernel
@pytest.mark.parametrize("x", [torch.zeros(2, 32), torch.zeros(2, 8), torch.zeros(2, 16).half()])
def test_what_the_kernel_cannot_read_is_refused(x):
    with pytest.raises(ValueError, match="must be float32"):
        CompiledLinear(torch.zeros(8, 16), None, EXACT)(x)


@needs_kernel
@pytest.mark.parametrize("what", [torch.nan, torch.inf])
@pytest.mark.parametrize("codes", CODES)
def test_what_is_no_number_stays_none_and_in_its_row(codes, what):
    torch.manual_seed(0)
    layer, x = CompiledLinear(torch.randn(40, 48), None, codes), torch.randn(3, 48)
    wanted = layer(x)
    x[1, 7] = what
    found = layer(x)
    assert not found[1].isfinite().any()
    assert torch.equal(found[[0, 2]], wanted[[0, 2]])


@needs_kernel
def test_a_layer_for_the_kernel_is_not_copied_with_its_addresses():
    with pytest.raises(TypeError, match="addresses"):
        copy.deepcopy(CompiledLinear(torch.zeros(8, 16), None, EXACT))


@needs_kernel
def test_a_weight_whose_sums_could_leave_32_bits_is_refused():
    with pytest.raises(ValueError, match="columns"):
        CompiledLinear(torch.zeros(1, 70_000), None, EXACT)
    assert exact(torch.zeros(1, 70_000)) == FLOATS

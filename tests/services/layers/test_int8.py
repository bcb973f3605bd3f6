"""Layers over weights in 8 bits: near what single precision gives, or the same."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from services.layers.int8 import ExactInt8Linear, Int8Linear, WideLinear, unusable

needs_vnni = pytest.mark.skipif(bool(unusable()), reason=unusable())
LAYERS = [Int8Linear, WideLinear, ExactInt8Linear]


@needs_vnni
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("shape", [(5, 48), (2, 3, 48)])
def test_a_layer_is_near_the_exact_one(layer, shape):
    torch.manual_seed(0)
    weight, x = torch.randn(64, 48), torch.randn(shape)
    exact = F.linear(x, weight)
    assert (layer(weight)(x) - exact).norm() < 0.02 * exact.norm()


@needs_vnni
def test_of_weights_in_8_bits_little_or_nothing_is_lost():
    torch.manual_seed(0)
    codes, x = torch.randint(-127, 128, (64, 48)), torch.randn(5, 48)
    codes[:, 0] = 127
    weight = codes * torch.rand(64, 1)
    exact = F.linear(x, weight)
    assert (WideLinear(weight)(x) - exact).norm() < 1e-4 * exact.norm()
    assert (ExactInt8Linear(weight)(x) - exact).norm() < 1e-6 * exact.norm()


@needs_vnni
def test_weights_that_were_rounded_before_are_not_rounded_again():
    torch.manual_seed(0)
    codes = torch.randint(-127, 128, (16, 32))
    codes[:, 0] = 127
    weight = codes * torch.rand(16, 1)
    x = torch.eye(32)  # each of 1 is a code of its own, so that no activation is rounded either
    torch.testing.assert_close(Int8Linear(weight)(x), weight.T, rtol=1e-5, atol=1e-6)


@needs_vnni
@pytest.mark.parametrize("kind", LAYERS)
def test_a_tokens_states_do_not_depend_on_the_others_in_its_pass(kind):
    torch.manual_seed(0)
    layer, x = kind(torch.randn(64, 48)), torch.randn(6, 48)
    alone = torch.cat([layer(row[None]) for row in x])
    x[5] *= 1e6
    assert torch.equal(layer(x)[:5], alone[:5])


@needs_vnni
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_takes_zeros(layer):
    assert layer(torch.zeros(8, 16))(torch.zeros(2, 16)).tolist() == [[0.0] * 8] * 2


@needs_vnni
@pytest.mark.parametrize("kind", LAYERS)
def test_a_bias_is_added_once(kind):
    torch.manual_seed(0)
    layer, x = nn.Linear(16, 8), torch.randn(3, 16)
    difference = kind.of(layer)(x) - kind(layer.weight)(x)
    torch.testing.assert_close(difference, layer.bias.expand(3, 8), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale_type", [torch.float16, torch.float32])
def test_weights_are_known_to_have_8_bits_or_more(scale_type):
    torch.manual_seed(0)
    codes = torch.randint(-127, 128, (64, 48)).float()
    codes[:, 0] = 127
    codes[3] = 0
    weight = codes * torch.rand(64, 1).to(scale_type).float()
    assert ExactInt8Linear.holds(weight)
    weight[5, 7] *= 1.001
    assert not ExactInt8Linear.holds(weight)


@needs_vnni
@pytest.mark.parametrize(("outlier", "most"), [(1.0, 1e-6), (1e3, 1e-5)])
def test_one_large_activation_takes_little_from_the_others(outlier, most):
    torch.manual_seed(0)
    codes, x = torch.randint(-127, 128, (64, 768)), torch.randn(8, 768)
    codes[:, 0] = 127
    x[:, 5] *= outlier
    weight = codes * torch.rand(64, 1)
    exact = x.double() @ weight.double().T
    assert (ExactInt8Linear(weight)(x) - exact).norm() < most * exact.norm()

"""The four architectures: exact sizes, and what their forward passes promise."""

import pytest
import torch

from nextvec.errors import NotFound
from services.lvm.checkpoint import ARCHITECTURES, build, parameter_count
from services.lvm.registry import ModelError
from tests.services.lvm.toys import SIZES, toy_model

PARAMETERS = {"amn": 1_510_912, "gru": 7_095_552, "lstm": 5_120_768, "transformer": 17_867_520}


def test_the_folder_holds_exactly_the_four_architectures():
    assert ARCHITECTURES.names() == sorted(PARAMETERS)


@pytest.mark.parametrize("architecture", PARAMETERS)
def test_the_production_size_has_the_exact_number_of_parameters(architecture):
    assert parameter_count(build(architecture)) == PARAMETERS[architecture]


@pytest.mark.parametrize("architecture", PARAMETERS)
def test_a_batch_gives_what_its_contexts_give_one_by_one(architecture):
    model = toy_model(architecture)
    contexts = torch.nn.functional.normalize(torch.randn(7, 5, 768), dim=-1)
    with torch.inference_mode():
        together = model(contexts)
        alone = torch.cat([model(context[None]) for context in contexts])
    assert together.shape == (7, 768)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", PARAMETERS)
def test_every_context_vector_and_every_parameter_has_an_influence(architecture):
    model = toy_model(architecture)
    contexts = torch.randn(3, 5, 768, requires_grad=True)
    model(contexts).square().sum().backward()
    assert (contexts.grad.abs().sum(2) > 0).all()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters() if p.ndim > 1)


@pytest.mark.parametrize("architecture", ["gru", "lstm", "transformer"])
def test_the_order_of_the_context_matters(architecture):
    model = toy_model(architecture)
    contexts = torch.randn(2, 5, 768)
    with torch.inference_mode():
        assert not torch.allclose(model(contexts), model(contexts.flip(1)), atol=1e-4)


def test_a_new_amn_predicts_the_context_mean():
    contexts = torch.randn(4, 5, 768)
    torch.testing.assert_close(build("amn", SIZES["amn"])(contexts), contexts.mean(1))


def test_the_transformers_shortened_last_layer_equals_torchs_own_decoder():
    model = toy_model("transformer")
    contexts = torch.randn(3, 5, 768)
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    position = torch.arange(5)[:, None] * torch.tensor([1.0, 1e-1, 1e-2, 1e-3])  # 10000 ** (-i / 4)
    encoding = torch.stack((position.sin(), position.cos()), 2).reshape(5, SIZES["transformer"]["width"])
    with torch.inference_mode():
        x = model.input_proj(contexts) + encoding
        states = model.transformer_decoder(x, x, tgt_mask=future, memory_mask=future)
        torch.testing.assert_close(model(contexts), model.head(states[:, -1]), atol=1e-5, rtol=1e-5)


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(NotFound, match="have amn, gru, lstm, transformer"):
        build("mamba")


def test_an_unknown_hyperparameter_is_refused_by_name():
    with pytest.raises(ModelError, match="depth"):
        build("amn", {"depth": 3})


@pytest.mark.parametrize("architecture", PARAMETERS)
def test_the_scale_multiplies_what_is_read_and_nothing_else(architecture):
    model = toy_model(architecture)
    contexts = torch.nn.functional.normalize(torch.randn(3, 5, 768), dim=-1)
    with torch.inference_mode():
        scaled = model(4 * contexts)
        model.scale = 4.0
        torch.testing.assert_close(model(contexts), scaled)

"""A model made fast predicts what it predicted."""

import numpy as np
import pytest
import torch
from torch import nn

from services.layers import compiled
from services.lvm import checkpoint, serving
from tests.services.lvm.toys import SIZES, SPACE, save_toy, toy_model


@pytest.mark.parametrize("architecture", SIZES)
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("compiling", [True, False])
def test_a_prepared_model_predicts_the_same(architecture, batch, compiling, monkeypatch):
    if not compiling:
        monkeypatch.setattr(compiled, "kernel", None)
    model = toy_model(architecture)
    for parameter in model.parameters():  # large enough for gates to open and close
        if parameter.dim() == 1:
            nn.init.normal_(parameter)
    contexts = np.random.default_rng(3).standard_normal((batch, 5, 768), dtype=np.float32)
    wanted = checkpoint.predict(model, contexts)
    serving.prepare(model)
    found = checkpoint.predict(model, contexts)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    left = [module for module in model.modules() if isinstance(module, nn.RNNBase | nn.MultiheadAttention)]
    assert not left or (compiled.unusable() and all(isinstance(module, nn.RNNBase) for module in left))


def test_attention_keeps_what_its_mask_bars_out_of_sight():
    torch.manual_seed(0)
    model = nn.ModuleList([nn.MultiheadAttention(8, 2, batch_first=True)]).eval().requires_grad_(False)
    x = torch.randn(2, 5, 8)
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    wanted = model[0](x, x, x, attn_mask=future, need_weights=False)[0]
    serving.prepare(model)
    torch.testing.assert_close(model[0](x, x, x, attn_mask=future, need_weights=False)[0], wanted)


@pytest.mark.parametrize(
    "part",
    [
        nn.RNN(8, 8, batch_first=True),
        nn.GRU(8, 8),
        nn.LSTM(8, 8, batch_first=True, bidirectional=True),
        nn.LSTM(8, 8, batch_first=True, proj_size=4),
        nn.GRU(8, 8, batch_first=True, bias=False),
    ],
)
def test_a_recurrent_module_of_another_kind_stays_as_it_is(part):
    model = nn.ModuleList([part]).eval()
    x = torch.randn(2, 5, 8)
    wanted = model[0](x)[0]
    serving.prepare(model)
    torch.testing.assert_close(model[0](x)[0], wanted)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_first": False},
        {"batch_first": True, "bias": False},
        {"batch_first": True, "kdim": 8, "vdim": 4},
    ],
)
def test_attention_of_another_kind_stays_as_it_is(options):
    model = nn.ModuleList([nn.MultiheadAttention(8, 2, **options)]).eval()
    serving.prepare(model)
    assert type(model[0]) is nn.MultiheadAttention


class OwnLayers(nn.Module):
    """Reads what a stand-in does not have."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(768, 2, 8, batch_first=True), 1)

    def forward(self, context):
        return self.encoder(context)[:, -1]


def test_a_model_that_asks_more_than_is_replaced_is_served_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "build", lambda architecture, hyperparameters=None: OwnLayers().eval())
    folder = save_toy(tmp_path, "transformer")
    model, _ = checkpoint.load(folder, SPACE)
    assert type(model.encoder.layers[0].self_attn) is nn.MultiheadAttention
    context = np.random.default_rng(3).standard_normal((2, 5, 768), dtype=np.float32)
    assert np.isfinite(checkpoint.predict(model, context)).all()

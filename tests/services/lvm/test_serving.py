"""A model made fast predicts what it predicted."""

import numpy as np
import pytest
import torch
from torch import nn

from services.lvm import checkpoint, serving
from tests.services.lvm.toys import SIZES, toy_model


@pytest.mark.parametrize("architecture", SIZES)
@pytest.mark.parametrize("batch", [1, 7])
def test_a_prepared_model_predicts_the_same(architecture, batch):
    model = toy_model(architecture)
    for parameter in model.parameters():  # large enough for gates to open and close
        if parameter.dim() == 1:
            nn.init.normal_(parameter)
    contexts = np.random.default_rng(3).standard_normal((batch, 5, 768), dtype=np.float32)
    wanted = checkpoint.predict(model, contexts)
    serving.prepare(model)
    found = checkpoint.predict(model, contexts)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    kinds = (nn.Linear, nn.RNNBase, nn.MultiheadAttention)
    assert not any(isinstance(module, kinds) for module in model.modules())


def test_attention_keeps_what_its_mask_bars_out_of_sight():
    torch.manual_seed(0)
    model = nn.ModuleList([nn.MultiheadAttention(8, 2, batch_first=True)]).eval().requires_grad_(False)
    x = torch.randn(2, 5, 8)
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    wanted = model[0](x, x, x, attn_mask=future, need_weights=False)[0]
    serving.prepare(model)
    torch.testing.assert_close(model[0](x, x, x, attn_mask=future, need_weights=False)[0], wanted)

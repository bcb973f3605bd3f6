"""The T5 stacks against transformers' own, on random weights."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from services.families.t5 import T5Decoder, T5Encoder, T5Shape


@pytest.fixture(params=["relu", "gated-gelu"])
def reference(request: pytest.FixtureRequest) -> T5ForConditionalGeneration:
    torch.manual_seed(3)
    config = T5Config(
        vocab_size=61,
        d_model=24,
        d_kv=10,  # heads × d_kv differs from d_model, as in t5-small's v1.1
        d_ff=40,
        num_heads=3,
        num_layers=3,
        num_decoder_layers=2,
        feed_forward_proj=request.param,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_sizes_are_read_off_the_tensors(reference: T5ForConditionalGeneration) -> None:
    shape = T5Shape.of(reference.state_dict(), "encoder")
    gated = reference.config.is_gated_act
    assert shape == T5Shape(61, 24, 30, 40, 3, layers=3, buckets=32, gated=gated)
    assert T5Shape.of(reference.state_dict(), "decoder").layers == 2


def test_encoder_equals_the_reference_at_every_layer(reference: T5ForConditionalGeneration) -> None:
    encoder = T5Encoder.of(reference.state_dict()).eval()
    ids = torch.randint(1, 61, (3, 50))
    mask = torch.ones_like(ids)
    mask[1, 20:] = 0
    mask[2, 1:] = 0
    with torch.inference_mode():
        found = encoder(ids, mask)
        wanted = reference.encoder(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states
        read = encoder.read(encoder.words(ids), mask)
    assert len(found) == len(wanted) == 4
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs)[mask.bool()].abs().max() < 1e-5
    assert torch.equal(read, found[-1])


class _NoPast:
    """Keys and values of whole texts fed at once."""

    def __init__(self, memory: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self._memory = memory

    def extend(
        self, layer: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return keys, values

    def memory(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._memory[layer]


def test_decoder_equals_the_reference(reference: T5ForConditionalGeneration) -> None:
    state = reference.state_dict()
    encoder, decoder = T5Encoder.of(state).eval(), T5Decoder.of(state).eval()
    read = torch.randn(2, 9, 24)
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 4:] = 0
    ids = torch.randint(0, 61, (2, 40))
    with torch.inference_mode():
        memory = encoder.read(read, mask)
        barred = ((mask == 0) * torch.finfo(torch.float32).min)[:, None, None, :]
        cache = _NoPast(decoder.remember(memory))
        found = decoder(encoder.words(ids), decoder.position_bias(40)[None], barred, cache)
        wanted = reference.decoder(
            input_ids=ids, encoder_hidden_states=memory, encoder_attention_mask=mask
        ).last_hidden_state
    assert (found - wanted).abs().max() < 1e-5


def test_a_missing_tensor_is_named(reference: T5ForConditionalGeneration) -> None:
    state = dict(reference.state_dict())
    del state["encoder.block.1.layer.0.SelfAttention.q.weight"]
    with pytest.raises(KeyError, match=r"encoder\.block\.1\.layer\.0\.SelfAttention\.q"):
        T5Encoder.of(state)

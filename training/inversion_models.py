"""The trainable inverter and corrector, with parameter names and forward passes of vec2text's checkpoints.

Morris et al., 2023, "Text Embeddings Reveal (Almost) As Much As Text": the inverter writes a first
hypothesis from the vector alone; the corrector rewrites a hypothesis given the target vector, the
hypothesis' vector and their difference.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config, T5ForConditionalGeneration

PAD, EOS = 0, 1


@dataclass(frozen=True)
class InversionShape:
    """Sizes of an inverter or corrector."""

    width: int = 384
    feed_forward: int = 1536
    heads: int = 6
    encoder_layers: int = 2
    decoder_layers: int = 4
    memory: int = 8  # vectors that one 768-d vector becomes, `num_repeat_tokens` in vec2text
    dropout: float = 0.0
    softmax_tokens: int = 0  # size of the sampled vocabulary in training; 0 means the whole one
    dimensions: int = 768

    @classmethod
    def of(cls, t5: Mapping[str, Any], memory: int) -> "InversionShape":
        """The sizes of a checkpoint, from its T5 configuration; what concerns training alone is left out."""
        return cls(
            width=t5["d_model"],
            feed_forward=t5["d_ff"],
            heads=t5["num_heads"],
            encoder_layers=t5["num_layers"],
            decoder_layers=t5["num_decoder_layers"],
            memory=memory,
        )

    def t5(self, vocabulary: int) -> T5Config:
        """The encoder-decoder's configuration."""
        return T5Config(
            vocab_size=vocabulary,
            d_model=self.width,
            d_kv=self.width // self.heads,
            d_ff=self.feed_forward,
            num_heads=self.heads,
            num_layers=self.encoder_layers,
            num_decoder_layers=self.decoder_layers,
            dropout_rate=self.dropout,
            decoder_start_token_id=PAD,
            pad_token_id=PAD,
            eos_token_id=EOS,
            tie_word_embeddings=True,
            use_cache=False,
        )


class _Inversion(nn.Module):
    """What inverter and corrector share: the encoder-decoder and its loss."""

    def __init__(self, shape: InversionShape, vocabulary: int):
        super().__init__()
        self.shape = shape
        # Any: transformers' lazy imports hide its types.
        self.encoder_decoder: Any = T5ForConditionalGeneration(shape.t5(vocabulary))

    def project(self, gain: float = 1.0) -> nn.Sequential:
        """One vector [B, dimensions] → [B, memory * width]; `gain` multiplies the start weights."""
        shape = self.shape
        spread = nn.Linear(shape.dimensions, shape.memory * shape.width)
        with torch.no_grad():
            spread.weight.mul_(gain)
        return nn.Sequential(
            nn.Linear(shape.dimensions, shape.dimensions), nn.Dropout(shape.dropout), nn.GELU(), spread
        )

    def unfold(self, projected: Tensor) -> Tensor:
        """[B, memory * width] → [B, memory, width]."""
        return projected.view(len(projected), self.shape.memory, self.shape.width)

    def likelihood(self, inputs: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy in nats per token of labels [B, T], pads left out.

        inputs [B, S, width] and mask [B, S] are what the encoder reads.
        """
        model = self.encoder_decoder
        memory = model.encoder(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
        started = F.pad(labels, (1, 0), value=PAD)[:, :-1]
        states = model.decoder(
            input_ids=started, encoder_hidden_states=memory, encoder_attention_mask=mask
        ).last_hidden_state
        states = states.flatten(0, 1) * self.shape.width**-0.5
        table, targets = model.shared.weight, labels.flatten()
        if self.training and self.shape.softmax_tokens:
            columns, offset, targets = sampled_vocabulary(targets, len(table), self.shape.softmax_tokens)
            logits = F.linear(states, table[columns], offset)
            return F.cross_entropy(logits.float(), targets, ignore_index=PAD)
        return F.cross_entropy(F.linear(states, table).float(), targets, ignore_index=PAD)

    def start_embeddings(self, rows: Tensor) -> None:
        """Sets the token embeddings [V, width], brought to zero mean and T5's unit variance."""
        rows = rows - rows.mean(0)
        with torch.no_grad():
            self.encoder_decoder.shared.weight.copy_(rows / rows.std())


def sampled_vocabulary(targets: Tensor, vocabulary: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The part of the vocabulary that a batch's softmax is taken over, to spare most of its cost.

    Every token among targets [N] is in it, and others drawn at random up to `size` in all (one size for
    every batch: a new shape would compile new kernels). The logits of those drawn are raised by the log
    of how many each stands for, so that the normaliser keeps its expected value (importance sampling,
    Bengio and Senécal, 2008). Returns token ids [size], offsets [size] and the targets as positions in
    the ids [N]; the padding token stays at position PAD. Targets with more than `size` different tokens
    lose none: the ids then are as many as they.
    """
    present = torch.zeros(vocabulary, dtype=torch.bool, device=targets.device)
    present[targets] = True
    present[PAD] = True
    inside, outside = present.nonzero().squeeze(1), (~present).nonzero().squeeze(1)
    wanted = max(0, size - len(inside))
    drawn = outside[torch.randperm(len(outside), device=targets.device)[:wanted]]
    columns = torch.cat((inside, drawn))
    offset = torch.zeros(len(columns), device=targets.device)
    offset[len(inside) :] = math.log(len(outside) / max(1, len(drawn)))
    positions = torch.zeros(vocabulary, dtype=torch.long, device=targets.device)
    positions[columns] = torch.arange(len(columns), device=targets.device)
    return columns, offset, positions[targets]


class Inverter(_Inversion):
    """Vector → text (vec2text's InversionModel)."""

    def __init__(self, shape: InversionShape, vocabulary: int):
        super().__init__(shape, vocabulary)
        # About unit variance, as the token embeddings have; the encoder adds to it in every layer.
        self.embedding_transform = self.project(gain=5)

    def forward(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """vectors [B, dimensions], labels [B, T] → loss."""
        inputs = self.unfold(self.embedding_transform(vectors))
        return self.likelihood(inputs, inputs.new_ones(inputs.shape[:2]), labels)


class Corrector(_Inversion):
    """Vector, hypothesis and the hypothesis' vector → better text (vec2text's CorrectorEncoderModel)."""

    def __init__(self, shape: InversionShape, vocabulary: int):
        super().__init__(shape, vocabulary)
        self.embedding_transform_1 = self.project()
        self.embedding_transform_2 = self.project()
        self.embedding_transform_3 = self.project()
        self.layernorm = nn.LayerNorm(shape.width)

    def start_from(self, inverter: Inverter) -> None:
        """Copies the inverter's encoder-decoder and its projection of the target, where sizes agree."""
        state = {f"encoder_decoder.{k}": v for k, v in inverter.encoder_decoder.state_dict().items()}
        for name, tensor in inverter.embedding_transform.state_dict().items():
            state[f"embedding_transform_1.{name}"] = tensor
        own = self.state_dict()
        self.load_state_dict({k: v for k, v in state.items() if own[k].shape == v.shape}, strict=False)

    def forward(
        self, vectors: Tensor, hypothesis: Tensor, hypothesis_vectors: Tensor, labels: Tensor
    ) -> Tensor:
        """vectors, hypothesis_vectors [B, dimensions], hypothesis ids [B, H], labels [B, T] → loss."""
        embed = self.encoder_decoder.shared
        separator = embed.weight[EOS].expand(len(vectors), 1, -1)
        inputs = torch.cat(
            (
                separator,
                self.unfold(self.embedding_transform_1(vectors)),
                separator,
                self.unfold(self.embedding_transform_3(hypothesis_vectors)),
                separator,
                self.unfold(self.embedding_transform_2(vectors - hypothesis_vectors)),
                separator,
                embed(hypothesis),
            ),
            dim=1,
        )
        prefix = hypothesis.new_ones(len(hypothesis), 4 + 3 * self.shape.memory)
        mask = torch.cat((prefix, (hypothesis != PAD).long()), dim=1)
        return self.likelihood(self.layernorm(inputs), mask, labels)

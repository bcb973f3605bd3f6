"""Inverter and corrector (Morris et al., 2023): what their encoder reads, and what comes next."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nextvec.weights import WeightsError
from services.decoder.checkpoint import Checkpoint
from services.decoder.writer import TorchWriter, Writer
from services.families.t5 import T5Decoder, T5Encoder, words
from services.layers import CodesOf, replace, unusable

PAD, EOS = 0, 1
"""T5's token ids; a text begins with PAD as its start token."""


class Inversion(nn.Module):
    """What inverter and corrector share: a T5 that reads input embeddings and writes tokens."""

    def __init__(self, checkpoint: Checkpoint):
        super().__init__()
        try:
            self.encoder = T5Encoder.of(checkpoint.t5)
            decoder = T5Decoder.of(checkpoint.t5)
        except (KeyError, RuntimeError) as error:
            raise WeightsError(f"{checkpoint.folder} is not a T5 encoder-decoder: {error.args[0]}") from error
        self.width = self.encoder.shape.width
        # T5 ties its output layer to the token embeddings, T5 v1.1 does not.
        table = checkpoint.t5.get("lm_head.weight")
        if table is None or torch.equal(table, words(checkpoint.t5)):
            table = self.encoder.words.weight
        with torch.device("meta"):
            head = nn.Linear(self.width, len(table), bias=False)
        head.weight = nn.Parameter(table)
        self.writer: Writer = TorchWriter(
            decoder.requires_grad_(False).eval(), self.encoder.words, head.requires_grad_(False)
        )
        self.requires_grad_(False)
        self.eval()

    def make_fast(self, reading: CodesOf, writing: CodesOf, limit: int) -> None:
        """Makes it as fast as it gets on this machine, fit for nothing but texts of `limit` tokens at most.

        Where the compiled kernel runs, `reading` and `writing` say how exact the encoder and all that comes
        after it are. What unfolds vectors is exact.
        """
        replace(self.encoder, reading)
        assert isinstance(self.writer, TorchWriter)
        if unusable():
            self.writer.replace_layers()
        else:
            self.writer = self.writer.by_kernel(limit, writing)

    def _unfold(self, projected: Tensor) -> Tensor:
        """[B, memory * width] → [B, memory, width]."""
        return projected.unflatten(-1, (-1, self.width))


class Inverter(Inversion):
    """Vector to text."""

    def __init__(self, checkpoint: Checkpoint):
        super().__init__(checkpoint)
        self.project = _projection(checkpoint, "embedding_transform")
        self.memory: int = checkpoint.state["embedding_transform.3.weight"].shape[0] // self.width
        """Positions that a vector unfolds to."""

    def read(self, vectors: Tensor) -> tuple[Tensor, None]:
        """vectors [B, D] → encoder states [B, memory, width], none of them masked."""
        return self.encoder.read(self._unfold(self.project(vectors))), None


class Corrector(Inversion):
    """Vector, hypothesis and the hypothesis' vector to better text."""

    def __init__(self, checkpoint: Checkpoint):
        super().__init__(checkpoint)
        self.project_target = _projection(checkpoint, "embedding_transform_1")
        self.project_difference = _projection(checkpoint, "embedding_transform_2")
        self.project_hypothesis = _projection(checkpoint, "embedding_transform_3")
        self.norm = nn.LayerNorm(self.width)
        self.norm.load_state_dict(
            {what: checkpoint.state[f"layernorm.{what}"] for what in ("weight", "bias")}
        )
        self.requires_grad_(False)
        self.ignores_hypothesis_vector = checkpoint.ignores_hypothesis_vector
        memory = checkpoint.state["embedding_transform_1.3.weight"].shape[0] // self.width
        self.prefix: int = 4 + 3 * memory
        """Positions before the hypothesis: four separators and three unfolded vectors."""

    def read(
        self, vectors: Tensor, hypotheses: Sequence[Sequence[int]], hypothesis_vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """vectors and hypothesis_vectors [B, D], hypotheses as raw ids with the start token
        → encoder states [B, prefix + T, width] and mask [B, prefix + T].

        The start token is masked as padding is, but the tokens after it keep their positions.
        """
        if self.ignores_hypothesis_vector:
            hypothesis_vectors = vectors
        longest = max(map(len, hypotheses))
        padded = [[*row, *[PAD] * (longest - len(row))] for row in hypotheses]
        ids = torch.tensor(padded, device=vectors.device)
        separator = self.encoder.words.weight[EOS].expand(len(vectors), 1, -1)
        inputs = torch.cat(
            (
                separator,
                self._unfold(self.project_target(vectors)),
                separator,
                self._unfold(self.project_hypothesis(hypothesis_vectors)),
                separator,
                self._unfold(self.project_difference(vectors - hypothesis_vectors)),
                separator,
                self.encoder.words(ids),
            ),
            dim=1,
        )
        mask = F.pad((ids != PAD).long(), (self.prefix, 0), value=1)
        return self.encoder.read(self.norm(inputs), mask), mask


def _projection(checkpoint: Checkpoint, name: str) -> nn.Sequential:
    """Linear, GELU, Linear; the published dropout between them does nothing here."""
    layers: list[nn.Linear] = []
    for index in (0, 3):
        weight, bias = (checkpoint.state[f"{name}.{index}.{what}"] for what in ("weight", "bias"))
        layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers.append(layer)
    projection = nn.Sequential(layers[0], nn.GELU(), layers[1]).requires_grad_(False)
    replace(projection)
    return projection

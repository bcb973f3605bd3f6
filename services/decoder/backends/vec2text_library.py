"""The installed vec2text library on the family's weights: the reference that other engines are compared with.

The library finds its parts by name on a hub and its metrics on the network. Here it gets them from the
family's files: the encoder-decoders are built from the tensors' sizes, and the embedder is an adapter that
applies the family's recipe.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any
from unittest import mock

import evaluate  # type: ignore[import-untyped]
import torch
import transformers
import vec2text
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from nextvec.family import Family
from nextvec.weights import WeightsError
from services.decoder.backends import Backend, Task
from services.decoder.checkpoint import Checkpoint, text_tokenizer, texts_digest
from services.decoder.generation import Passes
from services.decoder.inversion import EOS, PAD
from services.families.embedder import Embedder
from services.families.t5 import T5Shape, words

torch._logging.set_logs()  # importing the library turns on the compiler's log, which it never uses here


class Vec2TextLibrary:
    """Runs the library's own generation, a task's whole text at a time."""

    def __init__(self, family: Family):
        inverter, corrector = Checkpoint.load("inverter", family), Checkpoint.load("corrector", family)
        self.tokenizer = text_tokenizer(family)
        self.limit = corrector.limit
        self.digest = texts_digest(family, inverter, corrector) + "library"
        self.passes = Passes()
        self.trainer = _build(family, inverter, corrector, self.tokenizer)
        self._tasks: list[Task] = []

    def invert(self, vectors: Tensor, steps: int) -> list[list[int]]:
        """Vectors [N, D] to raw ids without padding after `steps` corrections, by the library's own loop.

        0 is the first hypothesis alone. The library's public function allows 128 tokens in a correction;
        here both models end at the family's limit, which is what they were trained for.
        """
        return self.hypotheses(vectors, steps)[-1]

    def hypotheses(self, vectors: Tensor, steps: int) -> list[list[list[int]]]:
        """What the library writes on the way: raw ids of the first hypothesis and of each correction."""
        if steps == 0:
            return [self._hypothesise(vectors)]
        embedded = mock.patch.object(
            self.trainer, "embed_generated_hypothesis", wraps=self.trainer.embed_generated_hypothesis
        )
        with torch.no_grad(), embedded as embed:
            last = self.trainer.generate(
                inputs={"frozen_embeddings": vectors},
                generation_kwargs=self._options(),
                num_recursive_steps=steps,
                sequence_beam_width=0,
            )
        written = [call.kwargs["input_ids"].tolist() for call in embed.call_args_list]
        if written[-1] != last.tolist():
            raise RuntimeError("the library returned another text than the last it embedded")
        return [[_without_padding(ids) for ids in texts] for texts in written]

    def start(self, tasks: list[Task]) -> None:
        self._tasks += tasks

    def stop(self, task: Task) -> None:
        self._tasks = [other for other in self._tasks if other is not task]

    def advance(self) -> list[tuple[Task, list[int]]]:
        if not self._tasks:
            return []
        first = self._tasks[0].hypothesis_vector is None
        now = [task for task in self._tasks if (task.hypothesis_vector is None) == first]
        self._tasks = [task for task in self._tasks if (task.hypothesis_vector is None) != first]
        vectors = torch.stack([task.vector for task in now])
        ids = self._hypothesise(vectors) if first else self._correct(vectors, now)
        return list(zip(now, ids, strict=True))

    def _hypothesise(self, vectors: Tensor) -> list[list[int]]:
        with torch.no_grad():
            ids = self.trainer.inversion_trainer.generate(
                inputs={"frozen_embeddings": vectors}, generation_kwargs=self._options()
            )
        return [_without_padding(row) for row in ids.tolist()]

    def _correct(self, vectors: Tensor, tasks: list[Task]) -> list[list[int]]:
        longest = max(len(task.hypothesis) for task in tasks)
        ids = torch.tensor([[*task.hypothesis, *[PAD] * (longest - len(task.hypothesis))] for task in tasks])
        inputs = {
            "frozen_embeddings": vectors,
            "hypothesis_input_ids": ids,
            "hypothesis_attention_mask": (ids != PAD).int(),
            "hypothesis_embedding": torch.stack(
                [v for task in tasks if (v := task.hypothesis_vector) is not None]
            ),
        }
        with torch.no_grad():
            ids = self.trainer.model.generate(inputs=inputs, generation_kwargs=self._options())
        return [_without_padding(row) for row in ids.tolist()]

    def _options(self) -> dict[str, object]:
        return {**self.trainer.gen_kwargs, "min_length": 1, "max_length": self.limit}


def load(family: Family, slots: int) -> Backend:
    """Builds the library's models on the family's weights; `slots` limits nothing here."""
    return Vec2TextLibrary(family)


class _Adapter(nn.Module):
    """The family's embedder, called as the library calls a transformers model."""

    def __init__(self, embedder: Embedder, dimensions: int):
        super().__init__()
        self.embedder = embedder
        self.config = transformers.PretrainedConfig(hidden_size=dimensions)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> BaseModelOutputWithPooling:
        return BaseModelOutputWithPooling(pooler_output=self.embedder(input_ids, attention_mask))


def _build(
    family: Family, inverter: Checkpoint, corrector: Checkpoint, tokenizer: Tokenizer
) -> vec2text.trainers.Corrector:
    embedder = Embedder.load(family)
    texts = _fast(tokenizer, PAD, EOS)
    config = vec2text.models.config.InversionConfig(
        model_name_or_path="t5",
        embedder_model_name="family",
        embedder_model_api=None,
        embedder_no_grad=True,
        embedder_fake_with_zeros=False,
        use_frozen_embeddings_as_input=True,
        encoder_dropout_disabled=False,
        decoder_dropout_disabled=False,
        embeddings_from_layer_n=None,
        use_lora=False,
        max_seq_length=corrector.limit,
        corrector_ignore_hypothesis_embedding=corrector.ignores_hypothesis_vector,
    )
    adapter = _Adapter(embedder, family.dimensions)
    with _offline(inverter, texts, adapter, _fast(embedder.tokenizer, 0, None)):
        config.num_repeat_tokens = _repeats(inverter, "embedding_transform")
        inversion = vec2text.models.InversionModel(config)
        _fill(inversion, inverter)
    with _offline(corrector, texts):
        config.num_repeat_tokens = _repeats(corrector, "embedding_transform_1")
        correction = vec2text.models.CorrectorEncoderModel(config)
        _fill(correction, corrector)
    with tempfile.TemporaryDirectory() as folder, _offline(inverter, texts):
        arguments = transformers.TrainingArguments(folder, report_to=[], use_cpu=True)
        collator = vec2text.collator.DataCollatorForCorrection(tokenizer=texts)
        trainer = vec2text.trainers.InversionTrainer(inversion, args=arguments, data_collator=collator)
        return vec2text.trainers.Corrector(correction, trainer, args=arguments, data_collator=collator)


@contextlib.contextmanager
def _offline(
    checkpoint: Checkpoint, texts: object, embedder: object = None, embedder_tokenizer: object = None
) -> Iterator[None]:
    """Stands in for what the library fetches by name while its objects are built."""
    inversion = "vec2text.models.inversion"

    def t5(*_: object, **__: object) -> transformers.T5ForConditionalGeneration:
        return _t5(checkpoint)

    with (
        mock.patch.object(evaluate, "load", return_value=None),
        mock.patch.object(transformers.AutoModelForSeq2SeqLM, "from_pretrained", t5),
        mock.patch(f"{inversion}.load_encoder_decoder", t5),
        mock.patch(f"{inversion}.load_embedder_and_tokenizer", return_value=(embedder, embedder_tokenizer)),
        mock.patch(f"{inversion}.load_tokenizer", return_value=texts),
    ):
        yield


def _t5(checkpoint: Checkpoint) -> Any:
    encoder, decoder = (T5Shape.of(checkpoint.t5, stack) for stack in ("encoder", "decoder"))
    table = checkpoint.t5.get("lm_head.weight")
    model: Any = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=encoder.vocabulary,
            d_model=encoder.width,
            d_kv=encoder.inner // encoder.heads,
            d_ff=encoder.feed_forward,
            num_heads=encoder.heads,
            num_layers=encoder.layers,
            num_decoder_layers=decoder.layers,
            feed_forward_proj="gated-gelu" if encoder.gated else "relu",
            tie_word_embeddings=table is None or torch.equal(table, words(checkpoint.t5)),
            pad_token_id=PAD,
            eos_token_id=EOS,
            decoder_start_token_id=PAD,
        )
    )
    model.load_state_dict(checkpoint.t5, strict=False)
    return model.eval()


def _fill(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Loads the rest; the T5 is complete already, under names that leave its tied tensors out."""
    own = {k: v for k, v in checkpoint.state.items() if not k.startswith("encoder_decoder.")}
    unknown = model.load_state_dict(own, strict=False).unexpected_keys
    if unknown:
        raise WeightsError(f"{checkpoint.folder} has {unknown[0]}, which the library does not know")
    model.eval()


def _repeats(checkpoint: Checkpoint, projection: str) -> int:
    rows = checkpoint.state[f"{projection}.3.weight"].shape[0]
    return rows // T5Shape.of(checkpoint.t5, "encoder").width


def _fast(tokenizer: Tokenizer, pad: int, end: int | None) -> Any:
    ends = {} if end is None else {"eos_token": tokenizer.id_to_token(end)}
    fast: Any = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer.to_str()),
        pad_token=tokenizer.id_to_token(pad),
        clean_up_tokenization_spaces=False,
        **ends,
    )
    # The wrapper takes away the space that a byte-level tokenizer puts before the first word.
    fast.backend_tokenizer.pre_tokenizer = tokenizer.pre_tokenizer
    return fast


def _without_padding(ids: list[int]) -> list[int]:
    end = len(ids)
    while end > 1 and ids[end - 1] == PAD:
        end -= 1
    return ids[:end]

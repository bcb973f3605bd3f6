"""The decoder engines against the library: on the family's weights, and at the public checkpoints' size."""

from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import machine, parity
from benchmarks.contest import BATCH, EXACT, Contest
from benchmarks.harness import Options, Spread
from benchmarks.random_family import LIMIT, T5_BASE, T5_VOCABULARY, decoder_weights, write_random_family
from benchmarks.results import Result, figure, held
from benchmarks.texts import sentences
from nextvec.family import Family
from services.decoder.backends import BACKENDS
from services.decoder.checkpoint import Checkpoint
from services.decoder.engine import Engine
from training.inversion_models import InversionShape

_GIB = 2**30
_T5_BASE_MEMORY = 12 * _GIB
"""Library and exact engine with 2.4 GB of weights each, half of it and less for the reduced ones, and what
loading takes beside."""

_MINI_ROUNDS, _T5_BASE_ROUNDS = 20, 5
_PARITY_TEXTS, _DRAFT_TEXTS = 249, 50
"""Sentences; with fewer, the loss of BLEU is mostly chance."""

_LADDER = 5


def run(options: Options) -> list[Result]:
    """Both sizes, or the one asked for; the family's own weights say which backends may be the fastest."""
    results, candidates = family_size(options)
    if "t5-base" in options.sizes:
        free = machine.free_memory()
        if free is not None and free < _T5_BASE_MEMORY:
            options.say(
                f"decode: T5-base size is left out: {free / _GIB:.1f} GiB are free, "
                f"it needs {_T5_BASE_MEMORY / _GIB:.0f}"
            )
        else:
            results += random_size(options, candidates)
    return results


def family_size(options: Options) -> tuple[list[Result], list[str]]:
    """On the family's own weights, decoding vectors of real sentences; and the candidates for the fastest."""
    family = Family.open(options.family, options.artifacts / "families")
    texts = sentences(options.artifacts, family, BATCH if options.quick else _PARITY_TEXTS)
    contest = Contest.of("mini", family.name, family, options, lambda engine: engine.embed(texts))
    parities = parity.measure(contest.engines, texts, options)
    candidates = parity.candidates(parities)
    results = [result for found in parities for result in found.figures()]
    if "mini" in options.sizes:
        speeds, fastest, _ = contest.speed(_MINI_ROUNDS, options, candidates)
        results += [*speeds, *parity.bars(parities, fastest), contest.equal(_LADDER)]
        results.append(_accepted(contest, options))
    return results, candidates


def random_size(
    options: Options,
    candidates: Collection[str],
    shape: InversionShape = T5_BASE,
    vocabulary: int = T5_VOCABULARY,
    limit: int = LIMIT,
) -> list[Result]:
    """On random weights of one size, every text as long as the limit; the fastest is one of `candidates`."""
    with TemporaryDirectory(prefix="nextvec-bench-") as folder:
        options.say("decode: drawing random weights of T5-base size")
        family = write_random_family(Path(folder), shape, vocabulary, limit)

        def vectors(engine: Engine) -> torch.Tensor:
            noise = torch.Generator().manual_seed(1)
            return torch.randn((BATCH, family.dimensions), generator=noise)

        contest = Contest.of("t5_base", "T5-base", family, options, vectors)
        results, fastest, seconds = contest.speed(_T5_BASE_ROUNDS, options, candidates)
        results.append(contest.equal(1))
        return results + _against_bandwidth(contest, family, fastest, seconds, options)


def _accepted(contest: Contest, options: Options) -> Result:
    """Tokens of corrections 2 to 5 by decoder passes, one vector at a time."""
    options.say("decode: tokens accepted per pass")
    engine = contest.engines[EXACT]
    walks = [engine.run(vector[None], 1)[0] for vector in contest.vectors[:_DRAFT_TEXTS]]
    tokens, rows = engine.passes.tokens, engine.passes.rows
    for walk in walks:
        if not walk.reaches(_LADDER):
            engine.start([(walk, _LADDER)])
            while engine.busy:
                engine.advance()
    accepted = (engine.passes.tokens - tokens) / max(1, engine.passes.rows - rows)
    return held("mini_tokens_per_pass", accepted)


def _against_bandwidth(
    contest: Contest, family: Family, fastest: str, seconds: list[float], options: Options
) -> list[Result]:
    """Time of a step against that of reading inverter and corrector once for each token they write.

    A backend says in `WEIGHT_BYTES` what a weight takes that it reads; without it, there is no such figure.
    """
    options.say("decode: memory bandwidth")
    bandwidth = machine.bandwidth(options.quick)
    results = [figure("memory_bandwidth", "decode", "memory bandwidth", bandwidth / 1e9, "GB/s")]
    size: float | None = getattr(BACKENDS.load(fastest), "WEIGHT_BYTES", None)
    if size is None:
        options.say(f"decode: backend {fastest} does not say how many bytes a weight has; no bandwidth limit")
        return results
    parts = [decoder_weights(Checkpoint.load(kind, family).t5) for kind in ("inverter", "corrector")]
    walk = contest.engines[fastest].run(contest.vectors[:1], 1)[0]
    tokens = [len(hypothesis.ids) - 1 for hypothesis in walk.hypotheses]
    read = sum(weights * size * count for weights, count in zip(parts, tokens, strict=True))
    limit = read / bandwidth
    what = "T5-base, one step, batch 1: reading the weights once a token"
    results.append(figure("t5_base_step1_limit_ms", "decode", f"{what}; {fastest}", 1000 * limit, "ms"))
    results.append(held("t5_base_bandwidth", Spread.of(seconds).times(1 / limit), f"by {fastest}"))
    return results

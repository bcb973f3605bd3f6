"""The decoder engines against the library: on the family's weights, and at the public checkpoints' size."""

from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import torch

from benchmarks import machine
from benchmarks.contest import BATCH, EXACT, Contest
from benchmarks.harness import Options, Spread
from benchmarks.random_family import LIMIT, T5_BASE, T5_VOCABULARY, decoder_weights, write_random_family
from benchmarks.results import Result, figure, held
from benchmarks.texts import sentences
from nextvec.family import Family
from services.decoder.backends import BACKENDS
from services.decoder.checkpoint import Checkpoint
from services.decoder.engine import Engine
from services.decoder.walk import Walk
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
    """Both sizes, or the one asked for."""
    results: list[Result] = []
    if "mini" in options.sizes:
        results += family_size(options)
    if "t5-base" in options.sizes:
        free = machine.free_memory()
        if free is not None and free < _T5_BASE_MEMORY:
            options.say(
                f"decode: T5-base size is left out: {free / _GIB:.1f} GiB are free, "
                f"it needs {_T5_BASE_MEMORY / _GIB:.0f}"
            )
        else:
            results += random_size(options)
    return results


def family_size(options: Options) -> list[Result]:
    """On the family's own weights, decoding vectors of real sentences."""
    family = Family.open(options.family, options.artifacts / "families")
    texts = sentences(options.artifacts, family, BATCH if options.quick else _PARITY_TEXTS)
    contest = Contest.of("mini", family.name, family, options, lambda engine: engine.embed(texts))
    results, _, _ = contest.speed(_MINI_ROUNDS, options)
    results.append(contest.equal(_LADDER))
    results.append(_accepted(contest, options))
    for backend in contest.engines:
        if backend != EXACT:
            results += _parity(contest, backend, texts, options)
    return results


def random_size(
    options: Options, shape: InversionShape = T5_BASE, vocabulary: int = T5_VOCABULARY, limit: int = LIMIT
) -> list[Result]:
    """On random weights of one size, every text as long as the limit."""
    with TemporaryDirectory(prefix="nextvec-bench-") as folder:
        options.say("decode: drawing random weights of T5-base size")
        family = write_random_family(Path(folder), shape, vocabulary, limit)

        def vectors(engine: Engine) -> torch.Tensor:
            noise = torch.Generator().manual_seed(1)
            return torch.randn((BATCH, family.dimensions), generator=noise)

        contest = Contest.of("t5_base", "T5-base", family, options, vectors)
        results, fastest, seconds = contest.speed(_T5_BASE_ROUNDS, options)
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


def _parity(contest: Contest, backend: str, texts: list[str], options: Options) -> list[Result]:
    """What a backend of reduced precision loses against the exact one, after five corrections."""
    from sacrebleu import corpus_bleu

    options.say(f"decode: parity of {backend}")
    exact, reduced = (_texts(contest.walks(name, _LADDER)) for name in (EXACT, backend))
    engine = contest.engines[EXACT]
    cosines = torch.cosine_similarity(engine.embed(exact), engine.embed(reduced))
    loss = corpus_bleu(exact, [texts]).score - corpus_bleu(reduced, [texts]).score
    same = fmean(ours == theirs for ours, theirs in zip(exact, reduced, strict=True))
    what = f"{contest.title}, five steps: texts equal to the exact ones, share; by {backend}"
    return [
        held("mini_parity_cosine", float(cosines.mean()), f"by {backend}"),
        held("mini_parity_bleu_loss", loss, f"by {backend}"),
        figure(f"mini_parity_{backend}_equal", "decode", what, same, ""),
    ]


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


def _texts(walks: list[Walk]) -> list[str]:
    return [walk.at(_LADDER).text for walk in walks]

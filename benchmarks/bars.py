"""The bars: what a figure on two cores has to reach. Figures without one are there to be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.harness import FULL_BANK, Options

BENCHES = ("decode", "encode", "lvm", "snap", "cache", "gateway", "scale")
"""Names of what can be measured, each a module of this package."""


@dataclass(frozen=True)
class Bar:
    """A limit on one figure, `sense` saying from which side."""

    name: str
    bench: str
    what: str
    sense: Literal["≥", "≤"]
    limit: float
    unit: str

    def passed_by(self, value: float) -> bool:
        """Whether a figure reaches it."""
        return value >= self.limit if self.sense == "≥" else value <= self.limit


BARS = {
    bar.name: bar
    for bar in (
        Bar("t5_base_step1_exact", "decode", "T5-base, one step, batch 1: library / exact", "≥", 1.5, "×"),
        Bar(
            "t5_base_step1_fastest", "decode", "T5-base, one step, batch 1: library / fastest", "≥", 4.5, "×"
        ),
        Bar("t5_base_batch8_fastest", "decode", "T5-base, one step, batch 8: library / fastest", "≥", 6, "×"),
        Bar(
            "t5_base_ladder_fastest",
            "decode",
            "T5-base, five steps, batch 1: library's 1, then 3, then 5 / fastest",
            "≥",
            8,
            "×",
        ),
        Bar("mini_step1_exact", "decode", "mini, one step, batch 1: library / exact", "≥", 4, "×"),
        Bar(
            "t5_base_bandwidth",
            "decode",
            "T5-base, one step, batch 1, fastest: time / reading the weights once a token",
            "≤",
            2,
            "×",
        ),
        Bar(
            "mini_parity_cosine",
            "decode",
            "mini, reduced precision against exact: mean cosine of the re-encoded texts",
            "≥",
            0.98,
            "",
        ),
        Bar(
            "mini_parity_bleu_loss",
            "decode",
            "mini, reduced precision against exact: BLEU to the source, lost",
            "≤",
            1,
            "BLEU",
        ),
        Bar(
            "mini_tokens_per_pass", "decode", "mini, steps 2 to 5: tokens accepted per pass", "≥", 4, "tokens"
        ),
        Bar("cache_process", "cache", "hit in the process", "≤", 0.02, "ms"),
        Bar("cache_redis", "cache", "hit in Redis on loopback", "≤", 0.3, "ms"),
        Bar("gateway_repeat_speedup", "gateway", "first request / the same again", "≥", 10, "×"),
        Bar("gateway_repeat", "gateway", "a request repeated", "≤", 5, "ms"),
        Bar("gateway_overhead", "gateway", "a request, less the stages' own time", "≤", 3, "ms"),
        Bar("decoder_start", "gateway", "decoder process, start to ready", "≤", 8, "s"),
        Bar("lvm_amn_batch1", "lvm", "amn, batch 1, per query", "≤", 0.49, "ms"),
        Bar("lvm_lstm_batch1", "lvm", "lstm, batch 1, per query", "≤", 0.56, "ms"),
        Bar("lvm_gru_batch1", "lvm", "gru, batch 1, per query", "≤", 2.08, "ms"),
        Bar("lvm_transformer_batch1", "lvm", "transformer, batch 1, per query", "≤", 2.68, "ms"),
        Bar("snap_project", "snap", "projection over 339,615 × 768, K = 16", "≤", 2, "ms"),
        Bar(
            "scale_two_decoders",
            "scale",
            "answers a second: 2 decoders / 1, of one thread each",
            "≥",
            1.7,
            "×",
        ),
        Bar("scale_failed", "scale", "requests that failed", "≤", 0, ""),
        Bar("scale_degraded", "scale", "answers with less than was asked for", "≤", 0, ""),
        Bar("snap_recall", "snap", "recall of the 16 nearest of 339,615", "≥", 0.97, ""),
    )
}


def due(benches: Sequence[str], options: Options) -> list[Bar]:
    """Bars that a run of these benches owes a figure; a quick run owes none, a smaller one fewer."""
    if options.quick:
        return []
    return [bar for bar in BARS.values() if bar.bench in benches and _is_within(bar, options)]


def _is_within(bar: Bar, options: Options) -> bool:
    if bar.bench == "decode":
        return bar.name.startswith(tuple(size.replace("-", "_") for size in options.sizes))
    return bar.bench != "snap" or options.vectors == FULL_BANK

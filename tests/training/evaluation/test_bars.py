import pytest

from training.evaluation.bars import FOLDER, Bar, BarsError, read_bars
from training.evaluation.intervals import Estimate

LEAVES = {
    "decode.real.0.bleu": Estimate(10, 8, 12),
    "decode.real.1.bleu": Estimate(14, 11, 17),
    "gains.amn.ridge.cosine": Estimate(0.02, 0.01, 0.03),
    "gains.amn.ridge.r_at_5": Estimate(-0.1, -0.2, 0.0),
    "gains.gru.ridge.cosine": Estimate(0.01, -0.01, 0.03),
    "gains.gru.ridge.r_at_5": Estimate(0.1, 0.0, 0.2),
    "gibberish": Estimate(0.04, 0.0, 0.1),
}


def judged(**asked):
    asked["figures"] = tuple(asked["figures"])
    return Bar("a bar", **asked).judge(LEAVES)


def test_a_value_is_held_to_each_limit():
    assert judged(figures=["decode.real.0.bleu"], at_least=10).passed
    assert not judged(figures=["decode.real.0.bleu"], above=10).passed
    assert judged(figures=["gibberish"], at_most=0.05).passed
    assert not judged(figures=["decode.real.0.bleu"], at_least=9, at_most=9.5).passed


def test_a_star_stands_for_every_name():
    assert judged(figures=["gains.*.ridge.cosine"], above=0).passed
    assert not judged(figures=["gains.*.ridge.cosine"], low_above=0).passed


def test_some_asks_for_one_that_passes_in_everything():
    figures = ["gains.*.ridge.cosine", "gains.*.ridge.r_at_5"]
    verdict = judged(figures=figures, above=0, some=True)
    assert verdict.passed
    assert "gru" in verdict.found
    assert "amn" not in verdict.found
    assert not judged(figures=figures, low_above=0, some=True).passed


def test_being_above_what_the_interval_includes_is_said_to_be_level():
    verdict = judged(figures=["gains.gru.ridge.cosine"], above=0, some=True)
    assert (verdict.passed, verdict.outcome) == (True, "level")
    assert verdict.found == "gains.gru.ridge.cosine 0.01 (-0.01 to 0.03), level with 0"
    assert judged(figures=["gains.*.ridge.cosine"], above=0).outcome == "level"
    clear = judged(figures=["gains.amn.ridge.cosine"], above=0)
    assert (clear.outcome, clear.level) == ("reached", False)
    assert judged(figures=["gains.amn.ridge.r_at_5"], above=0).outcome == "missed"


def test_of_some_that_pass_one_that_is_clearly_ahead_is_told():
    leaves = {"gains.gru.x": Estimate(0.01, -0.01, 0.03), "gains.lstm.x": Estimate(0.02, 0.01, 0.03)}
    verdict = Bar("a bar", ("gains.*.x",), above=0, some=True).judge(leaves)
    assert verdict.outcome == "reached"
    assert "lstm" in verdict.found


def test_the_best_lvm_is_ahead_on_an_accelerator_only_where_its_interval_is():
    best = [bar for bar in read_bars("accelerator") if bar.some]
    assert len(best) == 2
    assert all(bar.low_above == 0 and bar.above is None for bar in best)


def test_a_gain_over_another_figure_is_taken_of_the_values():
    assert judged(figures=["decode.real.1.bleu"], over="decode.real.0.bleu", at_least=4).passed
    assert not judged(figures=["decode.real.1.bleu"], over="decode.real.0.bleu", at_least=4.1).passed


@pytest.mark.parametrize(
    "asked",
    [
        {"figures": ["no.such.figure"], "at_least": 0},
        {"figures": ["gains.*.nothing"], "at_least": 0},
        {"figures": ["gains.*.nothing"], "at_least": 0, "some": True},
        {"figures": ["gibberish", "no.such.figure"], "at_least": 0},
        {"figures": ["gibberish"], "at_least": -1, "over": "no.such.figure"},
    ],
)
def test_a_figure_that_is_missing_misses_its_bar(asked):
    assert not judged(**asked).passed


def test_every_file_of_bars_here_is_read():
    names = [path.stem.removeprefix("bars-") for path in FOLDER.glob("bars-*.toml")]
    assert sorted(names) == ["accelerator", "cpu"]
    for name in names:
        assert read_bars(name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[[bars]]\nwhat = 'x'\nfigures = ['a']\n", "asks nothing"),
        ("[[bars]]\nwhat = 'x'\nfigures = ['a']\nat_last = 3\n", "at_last"),
        ("bars = 3", "not a file of bars"),
        ("what", "not a file of bars"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path, content, said):
    path = tmp_path / "bars.toml"
    path.write_text(content)
    with pytest.raises(BarsError, match=said) as caught:
        read_bars(str(path))
    assert str(path) in caught.value.message


def test_an_unknown_name_of_bars_lists_the_known():
    with pytest.raises(BarsError, match="accelerator, cpu"):
        read_bars("gpu")

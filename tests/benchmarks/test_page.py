"""The page, its pictures, and the records beside it."""

import json

from benchmarks.harness import Spread
from benchmarks.page import write
from benchmarks.results import figure, held

SOME = Spread(2, 1, 4)


def test_page_pictures_and_records_are_of_the_same_figures(tmp_path):
    results = [
        held("cache_redis", 0.2),
        held("mini_step1_exact", Spread(3, 2, 4)),
        held("scale_failed", 0.0),
        figure("mini_step1_native_ms", "decode", "native", SOME, "ms"),
        figure("mini_step1_vec2text_library_ms", "decode", "library", SOME, "ms"),
        figure("scale_clients4_decoder_queue", "scale", "queue", SOME, "ms"),
        figure("scale_clients4_decoder_compute", "scale", "compute", SOME, "ms"),
    ]
    write(tmp_path, results, {"cores": "2"})
    text = (tmp_path / "performance.md").read_text()
    assert "Bars: 2 of 3 reached" in text
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {f"performance_{name}.png" for name in ("bars", "decode", "stages")}
    assert all(f"]({name})" in text for name in pictures)
    records = json.loads((tmp_path / "performance.json").read_text())
    assert [record["name"] for record in records] == [result.name for result in results]
    assert [record["passed"] for record in records[:3]] == [True, False, True]


def test_without_the_figures_there_is_no_picture(tmp_path):
    write(tmp_path, [held("scale_failed", 0.0)], {"cores": "2"}, ["scale"])
    assert not list(tmp_path.glob("*.png"))
    assert "![" not in (tmp_path / "performance.md").read_text()

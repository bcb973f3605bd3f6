"""Promotions: the link, the history beside it, and the way back."""

import itertools
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nextvec.errors import NotFound, UnknownRoute, WrongSpace
from nextvec.routes import ROUTES
from services.lvm.models import __path__ as architectures
from services.lvm.registry import (
    ARCHITECTURE_OF,
    ModelError,
    before,
    cards,
    history,
    named,
    production,
    promote,
    rollback,
    routes_of,
)
from tests.services.lvm.toys import SPACE, save_toy


@pytest.fixture
def three(tmp_path):
    """Three AMN models in a registry that promotes none."""
    return [save_toy(tmp_path, "amn", stem, seed) for seed, stem in enumerate("abc")]


def test_every_route_with_a_model_has_an_architecture_that_exists():
    assert list(ARCHITECTURE_OF) == [route.name for route in ROUTES if route.has_lvm]
    folder = Path(architectures[0])
    assert all((folder / f"{name}.py").is_file() for name in ARCHITECTURE_OF.values())


def test_promoting_swaps_the_link_and_adds_a_line_to_the_history(tmp_path, three):
    first, second, third = three
    promote(first, "amn", SPACE)
    assert production(tmp_path, "amn") == first
    promote(second, "amn", SPACE)
    assert production(tmp_path, "amn") == second
    link = tmp_path / "amn_v0"
    assert link.readlink() == type(link)(second.name)  # relative: the tree can be moved
    events = history(tmp_path, "amn")
    assert [(e.action, e.model, e.previous) for e in events] == [
        ("promote", first.name, None),
        ("promote", second.name, first.name),
    ]
    assert all(e.at.endswith("+00:00") for e in events)
    expected = {first.name, second.name, third.name, "amn_v0", "amn_v0.history.jsonl"}
    assert {path.name for path in tmp_path.iterdir()} == expected  # the replaced one stays


def test_promoting_what_answers_already_changes_nothing(tmp_path, three):
    promote(three[0], "amn")
    promote(three[0], "amn")
    promote(tmp_path / "amn_v0", "amn")
    assert len(history(tmp_path, "amn")) == 1
    assert production(tmp_path, "amn") == three[0]


def test_rolling_back_goes_back_promotion_by_promotion(tmp_path, three):
    for folder in three:
        promote(folder, "amn")
    assert before(tmp_path, "amn") == three[1]
    assert rollback(tmp_path, "amn", SPACE) == three[1]
    assert rollback(tmp_path, "amn") == three[0]
    with pytest.raises(ModelError, match="alone; there is nothing to go back to"):
        rollback(tmp_path, "amn")
    assert production(tmp_path, "amn") == three[0]
    assert [event.action for event in history(tmp_path, "amn")] == ["promote"] * 3 + ["rollback"] * 2


def test_after_a_rollback_another_promotion_can_be_rolled_back_too(tmp_path, three):
    promote(three[0], "amn")
    promote(three[1], "amn")
    rollback(tmp_path, "amn")
    promote(three[2], "amn")
    assert rollback(tmp_path, "amn") == three[0]


def test_a_link_set_by_hand_is_what_a_rollback_returns_to(tmp_path, three):
    (tmp_path / "amn_v0").symlink_to(three[0].name)
    promote(three[1], "amn")
    assert rollback(tmp_path, "amn") == three[0]


def test_a_promotion_whose_line_was_never_written_can_be_rolled_back(tmp_path, three):
    promote(three[0], "amn")
    (tmp_path / "amn_v0").unlink()
    (tmp_path / "amn_v0").symlink_to(three[1].name)
    assert before(tmp_path, "amn") == three[0]
    promote(three[2], "amn")
    assert rollback(tmp_path, "amn") == three[1]


@pytest.fixture
def killed_rollback(tmp_path):
    """Rolls back and is killed when the link is swapped and the line not yet written."""

    def run():
        path = tmp_path / "amn_v0.history.jsonl"
        lines = path.read_text()
        rollback(tmp_path, "amn")
        path.write_text(lines)

    return run


def test_a_rollback_killed_before_its_line_is_no_promotion_and_is_not_undone_by_the_next(
    tmp_path, three, killed_rollback
):
    for folder in three:
        promote(folder, "amn")
    killed_rollback()
    assert production(tmp_path, "amn") == three[1]
    assert rollback(tmp_path, "amn") == three[0]
    with pytest.raises(ModelError, match="nothing to go back to"):
        rollback(tmp_path, "amn")


def test_what_a_killed_rollback_took_away_stays_away_after_another_promotion(
    tmp_path, three, killed_rollback
):
    for folder in three:
        promote(folder, "amn")
    killed_rollback()
    fourth = save_toy(tmp_path, "amn", "d", 4)
    promote(fourth, "amn")
    assert [rollback(tmp_path, "amn") for _ in range(2)] == [three[1], three[0]]


def test_a_model_whose_folder_has_gone_can_be_rolled_back(tmp_path, three):
    promote(three[0], "amn")
    promote(three[1], "amn")
    shutil.rmtree(three[1])
    assert rollback(tmp_path, "amn") == three[0]


def test_a_rollback_to_a_model_that_has_gone_is_refused_and_changes_nothing(tmp_path, three):
    promote(three[0], "amn")
    promote(three[1], "amn")
    shutil.rmtree(three[0])
    with pytest.raises(ModelError, match="is missing"):
        rollback(tmp_path, "amn")
    assert production(tmp_path, "amn") == three[1]


def test_a_model_of_another_architecture_than_the_routes_is_refused(tmp_path):
    with pytest.raises(ModelError, match="of architecture 'lstm'; route 'amn' is answered by 'amn'"):
        promote(save_toy(tmp_path, "lstm"), "amn")
    promote(save_toy(tmp_path, "transformer"), "transformer-optimized")
    assert not (tmp_path / "amn_v0").exists()


def test_a_model_of_another_space_than_the_familys_is_refused_with_both_named(three):
    with pytest.raises(WrongSpace, match=rf"'{SPACE}'.*'mini-1'"):
        promote(three[0], "amn", "mini-1")


@pytest.mark.parametrize("route", ["direct", "os"])
def test_a_route_that_no_model_answers_is_refused(three, route):
    with pytest.raises(UnknownRoute, match="have amn, transformer"):
        promote(three[0], route)


def test_a_folder_that_is_no_model_is_not_promoted(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="missing"):
        promote(tmp_path / "empty", "amn")


def test_a_damaged_history_is_named(tmp_path, three):
    promote(three[0], "amn")
    (tmp_path / "amn_v0.history.jsonl").write_text("{}\n")
    with pytest.raises(ModelError, match="is not a history"):
        before(tmp_path, "amn")


def test_promotions_at_once_leave_a_history_without_gaps(tmp_path, three):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: promote(three[number % 3], "amn"), range(40)))
    events = history(tmp_path, "amn")
    for earlier, later in itertools.pairwise(events):
        assert later.previous == earlier.model
    assert events[-1].model == production(tmp_path, "amn").name


def test_all_models_are_listed_once_whatever_links_to_them(tmp_path, three):
    promote(three[0], "amn")
    shutil.copytree(three[0], tmp_path / ".draft")
    assert [card.name for card in cards(tmp_path)] == [folder.name for folder in three]
    assert routes_of(tmp_path) == {three[0].name: ["amn"]}


def test_a_model_is_found_by_name_link_and_route(tmp_path, three):
    promote(three[1], "amn")
    assert {named(tmp_path, name) for name in (three[1].name, "amn_v0", "amn")} == {three[1]}
    with pytest.raises(NotFound, match=f"no model 'x' in .*; have {three[0].name}"):
        named(tmp_path, "x")


def test_history_lines_are_json_objects_that_other_tools_can_read(tmp_path, three):
    promote(three[0], "amn")
    line = json.loads((tmp_path / "amn_v0.history.jsonl").read_text())
    assert line.keys() == {"at", "action", "model", "previous"}

"""The page on training data: everything on the cards is on it, and the committed one is up to date."""

import json
from pathlib import Path

import pytest

from nextvec.routes import ROUTES
from services.lvm.registry import ModelError, promote
from services.lvm.training_data import page, part_cards
from tests.services.lvm.toys import save_toy

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def families(tmp_path):
    """A family with an inverter's card."""
    folder = tmp_path / "families" / "toy" / "inverter"
    folder.mkdir(parents=True)
    (folder.parent / "family.json").write_text("{}")
    card = {
        "part": "inverter",
        "space": "toy-1",
        "parameters": 12345,
        "sha256": "ab" * 32,
        "trained_on": [
            {"source": "letters", "licence": "CC0-1.0", "documents": 3, "chunks": 1000},
            {"source": "diaries", "licence": "CC-BY-4.0", "documents": 4, "chunks": 2000},
        ],
        "config": {"noise": 0.05, "schedule": {"rate": 8e-4}},
        "loss": 2.5,
    }
    (folder / "card.json").write_text(json.dumps(card))
    return tmp_path / "families"


def test_the_committed_page_is_up_to_date_with_the_cards():
    found = (ROOT / "docs" / "MODEL_TRAINING_DATA.md").read_text(encoding="utf-8")
    expected = page(ROOT / "artifacts" / "lvm" / "models", ROOT / "artifacts" / "families")
    assert found == expected, "run `nextvec models document`"


def test_every_port_is_answered_even_where_no_model_is(tmp_path):
    text = page(tmp_path / "models", tmp_path / "families")
    for route in ROUTES:
        assert f"## Port {route.port}: {route.name}\n" in text
    assert text.count("No model answers here yet.") == 5
    assert text.count("No model: ") == 1
    assert "No inverter or corrector is here yet." in text


def test_a_models_card_is_told_whole(models, families):
    text = page(models, families)
    section = text[text.index("## Port 9003") : text.index("## Port 9004")]
    assert "`gru_2" in section
    assert "| invented texts | CC0-1.0 | 2 | 40 |" in section
    assert "- Pairs of context and target: 30" in section
    assert "| seed | 3 |" in section
    assert "- none known" in section


def test_metrics_stand_beside_those_of_the_baselines(models, families):
    text = page(models, families)
    section = text[text.index("## Port 9001") : text.index("## Port 9002")]
    assert "|  | cosine |\n| --- | --- |\n| this model | 0.5 |\n| last chunk | 0.25 |" in section
    assert "- validation windows: 12" in section


def test_claims_of_an_imported_checkpoint_are_told_apart(tmp_path, models, families):
    folder = save_toy(models, "lstm", "imported")
    record = json.loads((folder / "model.json").read_text())
    record["metrics"] = {"claimed_val_cosine": 0.576, "cosine_to_checkpoint": 0.9999}
    record["windows"], record["data_sha256"] = 0, ""
    (folder / "model.json").write_text(json.dumps(record))
    promote(folder, "lstm")
    text = page(models, families)
    section = text[text.index("## Port 9004") : text.index("## Port 9005")]
    assert "not measured here:\n\n- val_cosine: 0.576\n" in section
    assert "| this model | 0.9999 |" in section
    assert section.count("not known") == 2


def test_parts_are_told_with_totals_and_settings(models, families):
    text = page(models, families)
    section = text[text.index("### toy/inverter") :]
    assert "| diaries | CC-BY-4.0 | 4 | 2,000 |\n| letters" in section  # the larger first
    assert "| all |  | 7 | 3,000 |" in section
    assert "| schedule.rate | 0.0008 |" in section
    assert "| loss | 2.5 |" in section
    assert "- not stated" in section


def test_a_card_that_cannot_be_read_is_named(families):
    path = families / "toy" / "inverter" / "card.json"
    path.write_text('{"part": "inverter"}')
    with pytest.raises(ModelError, match=r"card\.json is not a card"):
        list(part_cards(families))

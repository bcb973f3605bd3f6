"""What the decoder counts of the texts it gives."""

import gc
import sys

import pytest
from prometheus_client import CollectorRegistry

from services.decoder import metrics as module
from services.decoder.entities import entities
from services.decoder.generation import Passes
from services.decoder.metrics import DecoderMetrics
from services.decoder.quality import check


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def answered(registry):
    """`answered(text, source)` counts a decoded text, and returns hits and misses of names so far."""
    metrics = DecoderMetrics(registry, Passes())

    def count(text, source):
        metrics.answered("decoded", text, source, check(text, source))
        name = "nextvec_decoder_answer_quality_total"
        labels = [{"figure": "entity", "result": result} for result in ("hit", "miss")]
        return tuple(registry.get_sample_value(name, one) or 0 for one in labels)

    return count


def test_names_shared_with_the_source_are_counted_first_time_and_again(answered):
    source = "A ferry goes to Tromsø twice a day."
    assert answered("The ferry is in Tromsø.", source) == (1, 0)
    assert answered("The ferry is in Oslo.", source) == (1, 1)
    assert answered("The ferry is late.", "A ferry without a name.") == (1, 1)


def test_names_of_repeated_sources_are_found_once(answered, monkeypatch):
    looked_at = []
    monkeypatch.setattr(module, "entities", lambda text: looked_at.append(text) or entities(text))
    for _ in range(3):
        answered("The ferry is late.", "A ferry to Tromsø.")
    assert looked_at == ["A ferry to Tromsø."]


def test_names_far_down_in_a_long_source_are_not_looked_for(answered):
    source = "it goes to Tromsø " + "and on " * 2000 + "to Bergen"
    assert answered("The ferry is in Bergen.", source) == (0, 1)
    assert answered("The ferry is in Tromsø.", source) == (1, 1)


def test_sources_are_not_kept(answered):
    source = "it goes to Tromsø " + "and on " * 100
    before = sys.getrefcount(source)
    answered("The ferry is late.", source)
    gc.collect()
    assert sys.getrefcount(source) == before


def test_only_so_many_sources_are_remembered(answered, monkeypatch):
    monkeypatch.setattr(module, "_SOURCES", 2)
    looked_at = []
    monkeypatch.setattr(module, "entities", lambda text: looked_at.append(text) or entities(text))
    for place in ("Oslo", "Bergen", "Oslo", "Tromsø", "Oslo", "Bergen"):
        answered("The ferry is late.", f"A ferry to {place}.")
    assert [text[11:-1] for text in looked_at] == ["Oslo", "Bergen", "Tromsø", "Bergen"]

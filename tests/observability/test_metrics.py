"""What running processes export is what docs/metrics.md says, and does not grow with requests."""

import re

import pytest

from nextvec.capacity.service_times import PROCESSES
from tests.e2e.running import PARAGRAPH
from tools import generate_metrics


def test_the_page_is_what_the_code_registers():
    fresh = generate_metrics.page()
    assert generate_metrics.PAGE.read_text() == fresh, f"run: {generate_metrics.COMMAND}"


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_exports_exactly_what_the_page_says(observed, process):
    said = {family.name: family for family in generate_metrics.exported(process)}
    found = observed.scrape(process)
    assert found.keys() == said.keys(), f"see REGISTERED in tools/generate_metrics.py for {process}"
    for name, family in found.items():
        assert family.type == said[name].type
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(said[name].labels), sample


@pytest.mark.parametrize("process", ["every process", *generate_metrics.REGISTERED])
def test_names_follow_prometheus_conventions(process):
    for family in generate_metrics.families(process):
        assert re.fullmatch(r"(nextvec|process)_[a-z0-9_]+", family.name)
        assert family.name.endswith("_total") == (family.type == "counter"), family.name
        assert not re.search(r"_(ms|millis|milliseconds|kb|mb)(_|$)", family.name)
        assert family.meaning


def test_every_process_names_its_models(observed):
    for process in PROCESSES:
        samples = observed.scrape(process)["nextvec_model_info"].samples
        assert samples, process
        assert {sample.labels["stage"] for sample in samples} == {process}
        assert all(sample.value == 1 and sample.labels["model"] for sample in samples)


def test_more_requests_make_no_more_series(observed):
    def series():
        return {
            (process, s.name, *sorted(s.labels.items()))
            for process in PROCESSES
            for family in observed.scrape(process).values()
            for s in family.samples
        }

    with observed.client() as client:
        client.complete(PARAGRAPH)
        before = series()
        for _ in range(5):
            client.complete(PARAGRAPH)
    assert series() == before


def test_a_served_answer_is_counted_with_its_quality(observed):
    samples = observed.scrape("decoder")["nextvec_decoder_answer_quality_total"].samples
    counted = {s.labels["figure"] for s in samples if s.name.endswith("_total") and s.value > 0}
    assert {"gibberish", "keyword"} <= counted
    projections = observed.scrape("snap")["nextvec_snap_projections_total"].samples
    assert sum(s.value for s in projections if s.name.endswith("_total")) >= 3

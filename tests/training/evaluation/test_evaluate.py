import dataclasses
import json
import shutil

import pytest

from nextvec.errors import InvalidInput
from services.families.embedder import Embedder
from services.lvm.registry import ModelError
from tests.services.lvm.toys import save_toy
from tests.training.evaluation.conftest import document
from training.corpus import chunk_rows
from training.evaluation import plots
from training.evaluation.bars import Bar, read_bars
from training.evaluation.baselines import Baselines
from training.evaluation.evaluate import Options, evaluate
from training.evaluation.intervals import Estimate
from training.evaluation.ladder import SHARES
from training.evaluation.markdown import page
from training.evaluation.samples import Sample

ROUTES = ("amn", "gru", "direct")


@pytest.fixture(scope="session")
def options(world):
    return Options(documents=4, chunks=12, decoded=6, requests=4, models=world.models)


@pytest.fixture(scope="session")
def heard():
    return []


@pytest.fixture(scope="session")
def report(world, documents, options, heard):
    return evaluate(documents, world.family, ROUTES, options, lambda *news: heard.append(news))


def test_every_figure_has_its_name_and_its_interval(report, tmp_path):
    report.write_json(tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert set(written["decode"]) == {"real", "predicted", "barycentre", "medoid"}
    for kind in written["decode"].values():
        assert list(kind) == ["0", "1", "3", "5"]
        assert all(set(step) == {"bleu", "token_f1", "exact", "cosine"} for step in kind.values())
    assert set(written["lvm"]) == {"amn", "gru", "last_chunk", "context_mean", "five_weights", "ridge"}
    wanted = {"cosine", "centred_cosine", "contrastive_accuracy", "r_at_1", "r_at_5", "mrr", "par"}
    assert all(set(figures) == wanted for figures in written["lvm"].values())
    assert set(written["ladder"]) == {"1", "3", "5", "extractive"}
    for name in SHARES:
        assert set(written[name]) == {"value", "low", "high"}
    assert set(written["routes"]) == set(ROUTES)


def test_a_candidate_is_measured_beside_the_routes(world, documents, options):
    name = save_toy(world.models, "gru", "gru_next", seed=3, space=world.family.space).name
    try:
        chosen = dataclasses.replace(options, candidates=(name,), decoded=1, requests=1)
        found = evaluate(documents, world.family, ("gru",), chosen)
    finally:
        shutil.rmtree(world.models / name)
    assert found.figures["lvm"][name]["cosine"] != found.figures["lvm"]["gru"]["cosine"]
    assert set(found.figures["gains"]) == {"gru"}
    assert found.about["candidates"].startswith(name)


def test_every_value_lies_within_its_interval(report):
    leaves = report.leaves()
    assert len(leaves) > 100
    for name, found in leaves.items():
        assert isinstance(found, Estimate)
        assert found.low - 1e-9 <= found.value <= found.high + 1e-9, name


def test_the_rungs_share_out_all_requests(report):
    assert sum(share.value for share in report.figures["ladder"].values()) == pytest.approx(1)


def test_the_page_links_its_pictures_and_has_every_predictor(report, tmp_path):
    pictures = plots.draw(report.held_to(read_bars("cpu")), tmp_path)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    text = page(report.held_to(read_bars("cpu")), pictures)
    assert all(f"]({path.name})" in text for path in pictures)
    for name in (*report.figures["lvm"], "direct", "medoid", "## Bars"):
        assert name in text
    assert "## Bars" not in page(report, pictures)


def test_the_page_says_which_bars_were_passed_by_figures_that_are_level(report):
    whole = Bar("ferries", ("lvm.ridge.mrr",), above=report.leaves()["lvm.ridge.mrr"].low)
    text = page(report.held_to([whole]), [])
    assert "| level | ferries |" in text
    assert ", level with " in text


def test_correction_never_takes_the_best_hypothesis_away(report):
    for kind in report.figures["decode"].values():
        cosines = [step["cosine"].value for step in kind.values()]
        assert cosines == sorted(cosines)


def test_progress_of_every_part_reaches_its_end(heard, report):
    ends = {what: (done, total) for what, done, total in heard}
    assert {"encoding", "predicting", "decoding real", "requests to direct"} <= set(ends)
    assert all(done == total for done, total in ends.values())


def test_the_same_evaluation_gives_the_same_report(report, world, documents, options):
    small = dataclasses.replace(options, decoded=2, requests=1)
    again = evaluate(documents, world.family, ROUTES, small)
    assert again.figures["lvm"] == report.figures["lvm"]


def test_a_copy_of_the_context_has_par_above_the_truths(report):
    assert report.figures["lvm"]["last_chunk"]["par"].value > 1


def test_fitted_baselines_are_used_and_named(world, documents, options, tmp_path):
    file = tmp_path / "baselines.safetensors"
    with_file = dataclasses.replace(options, decoded=1, requests=1, baselines=file)
    without = evaluate(documents, world.family, ["direct"], with_file)
    assert "cross-fitted" in without.about["baselines"]
    sample = Sample.draw(documents, world.family, Embedder.load(world.family), limit=4, chunks=12)
    windows = sample.contexts(sample.windows), sample.vectors[sample.windows]
    Baselines.fit_few(windows, windows).save(file)
    found = evaluate(documents, world.family, ["direct"], with_file)
    assert file.name in found.about["baselines"]
    assert found.figures["lvm"]["ridge"]["cosine"].value > without.figures["lvm"]["ridge"]["cosine"].value


def test_a_route_without_its_model_is_refused(world, documents, options):
    with pytest.raises(ModelError, match="lstm"):
        evaluate(documents, world.family, ["lstm"], options)


def test_documents_too_short_to_predict_in_are_refused(world, options):
    with pytest.raises(InvalidInput, match="more than 5"):
        evaluate([document(1, chunks=2)], world.family, ROUTES, options)


def test_a_sample_takes_runs_of_chunks_and_windows_stay_within_documents(world, documents):
    sample = Sample.draw(documents, world.family, Embedder.load(world.family), limit=3, chunks=8)
    assert len(sample.names) == 3
    assert len(sample.texts) == len(sample.vectors) == 24
    assert len(sample.windows) == 9
    for target in sample.windows:
        assert len(set(sample.document[target - 5 : target + 1])) == 1
    by_name = {d.id: d for d in documents}
    for number, name in enumerate(sample.names):
        texts = [t for t, d in zip(sample.texts, sample.document, strict=True) if d == number]
        chunks = [row["text"] for row in chunk_rows(by_name[name], world.family)]
        assert any(texts == chunks[start : start + 8] for start in range(len(chunks)))


def test_a_sample_does_not_depend_on_the_order_of_documents(world, documents):
    embedder = Embedder.load(world.family)
    there = Sample.draw(documents, world.family, embedder, limit=3, chunks=8)
    back = Sample.draw(documents[::-1], world.family, embedder, limit=3, chunks=8)
    assert there.texts == back.texts

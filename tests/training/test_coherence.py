"""The gate before training: prose passes, term lists and shuffled text do not, whatever their wording."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nextvec.errors import InvalidInput
from nextvec.family import Family
from services.families.embedder import Embedder
from training import coherence, coherence_check, is_a
from training.coherence import Bound, Verdict
from training.coherence_check import check, check_documents
from training.corpus import encode_texts
from training.documents import Document, read_documents

ROOT = Path(__file__).resolve().parents[2]
ARTICLES = ROOT / "artifacts" / "samples" / "articles"


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


term_lists = module(Path(__file__).with_name("term_lists.py"))
WORDINGS = term_lists.WORDINGS


@pytest.fixture(scope="module")
def family():
    return Family.open("mini")


class Remembering:
    """The family's encoder, which encodes each text once however many tests ask for it."""

    def __init__(self, embedder):
        self.embedder, self.mean, self.token_ids = embedder, embedder.mean, embedder.token_ids
        self.known = {}

    def embed(self, ids):
        """Vectors [N, D] of token ids."""
        keys = [tuple(row) for row in ids]
        if new := [key for key in dict.fromkeys(keys) if key not in self.known]:
            self.known |= zip(new, self.embedder.embed(new), strict=True)
        return torch.stack([self.known[key] for key in keys])


@pytest.fixture(scope="module")
def embedder(family):
    return Remembering(Embedder.load(family))


@pytest.fixture(scope="module")
def articles(family):
    """Runs of the sample articles: prose."""
    return [run.chunks for run in coherence_check.sample(read_documents(ARTICLES), family)]


@pytest.fixture(scope="module")
def article_vectors(articles, embedder):
    flat = encode_texts(embedder, [c for run in articles for c in run]).astype(np.float32)
    return np.split(flat, np.cumsum([len(run) for run in articles])[:-1])


def as_documents(chunks):
    return [Document(f"document {n}", chunks=tuple(c)) for n, c in enumerate(chunks)]


def write_windows(path, runs, *, identified=True, save=np.savez, dtype=np.float32):
    contexts, targets, owners, positions = [], [], [], []
    for number, run in enumerate(runs):
        for start in range(len(run) - 5):
            contexts.append(run[start : start + 5])
            targets.append(run[start + 5])
            owners.append(number)
            positions.append(start + 5)
    arrays = {"context_vectors": np.array(contexts, dtype), "target_vectors": np.array(targets, dtype)}
    if identified:
        arrays |= {"doc_ids": np.array(owners, np.int32), "positions": np.array(positions, np.int32)}
    save(path, **arrays)
    return path


def walks(count=40, length=24, dimensions=64, step=0.15, seed=0):
    """Runs that keep to a topic and drift, as prose does."""
    dice = np.random.default_rng(seed)
    runs = []
    for _ in range(count):
        topic = dice.standard_normal(dimensions)
        run = []
        for _ in range(length):
            topic = np.sqrt(1 - step) * topic + np.sqrt(step) * dice.standard_normal(dimensions)
            run.append(topic + 1.2 * dice.standard_normal(dimensions))
        runs.append(np.array(run, np.float32))
    return runs


def chains(count=40, length=12, dimensions=64, seed=0):
    """Runs in which each chunk shares one term with the next and none with any other."""
    terms = np.random.default_rng(seed).standard_normal((count, length + 1, dimensions)).astype(np.float32)
    return list(terms[:, 1:] + terms[:, :-1])


def verdict_on(runs):
    profile = coherence.profile_of(runs, range(len(runs)))
    return coherence.conclude(coherence.vector_signs(runs, profile))[0]


def test_vectors_that_drift_pass():
    assert verdict_on(walks()) == Verdict.PASS


def test_vectors_in_random_order_fail_for_their_order():
    dice = np.random.default_rng(1)
    shuffled = [dice.permutation(run) for run in walks()]
    assert verdict_on(shuffled) == Verdict.FAIL
    assert coherence.order_sign(shuffled).verdict == Verdict.FAIL


def test_vectors_of_chains_fail_though_their_neighbours_are_alike():
    profile = coherence.profile_of(chains(), range(40))
    signs = {s.name: s.verdict for s in coherence.vector_signs(chains(), profile)}
    assert profile.neighbours > coherence.profile_of(walks(), range(40)).neighbours
    assert signs["leap behind the neighbour"] == Verdict.FAIL


def test_unrelated_vectors_fail():
    dice = np.random.default_rng(2)
    assert verdict_on([dice.standard_normal((24, 64)) for _ in range(40)]) == Verdict.FAIL


def test_a_common_offset_of_all_vectors_changes_no_verdict():
    shift = 1.5 * np.ones(64, np.float32)
    assert verdict_on([run + shift for run in walks()]) == Verdict.PASS
    assert verdict_on([run + shift for run in chains()]) == Verdict.FAIL


def test_too_few_runs_are_marginal():
    assert coherence.order_sign(walks(count=3)).verdict == Verdict.MARGINAL


def test_the_profile_of_order_is_that_of_shuffling():
    (run,) = walks(count=1, length=8)
    profile = coherence.profile_of([run], [0])
    dice = np.random.default_rng(0)
    shuffles = [coherence.profile_of([dice.permutation(run)], [0]).neighbours for _ in range(600)]
    assert profile.shuffled == pytest.approx(np.mean(shuffles), abs=0.01)
    assert profile.by_distance[0] == profile.neighbours


@pytest.mark.parametrize(("value", "verdict"), [(1, "PASS"), (3, "MARGINAL"), (5, "FAIL")])
def test_bounds_judge_upwards_and_downwards(value, verdict):
    assert Bound("x", 2, 4, "", "").judge(value).verdict == verdict
    assert Bound("x", -2, -4, "", "").judge(-value).verdict == verdict


def test_the_worst_sign_decides_and_is_named_first():
    bound = Bound("x", 2, 4, "0 to 1", "too much")
    verdict, reasons = coherence.conclude([bound.judge(1), bound.judge(3), bound.judge(9)])
    assert verdict == Verdict.FAIL
    assert [r.split(":")[0] for r in reasons] == ["FAIL", "MARGINAL"]


def test_articles_pass(articles, family, embedder):
    report = check_documents(as_documents(articles), family, embedder)
    assert (report.verdict, report.reasons) == (Verdict.PASS, [])
    assert report.profile.neighbours > report.profile.shuffled > report.profile.other_documents


@pytest.mark.parametrize("wording", WORDINGS)
def test_terms_and_facts_fail_in_any_wording(wording, family, embedder):
    report = check_documents(as_documents(WORDINGS[wording]), family, embedder)
    assert report.verdict == Verdict.FAIL, [str(s) for s in report.signs]


@pytest.mark.parametrize("wording", WORDINGS)
def test_terms_and_facts_fail_without_a_list_of_phrases(wording, monkeypatch):
    monkeypatch.setattr(is_a, "is_classification", lambda chunk: False)
    assert coherence.conclude(is_a.lexical_signs(WORDINGS[wording]))[0] == Verdict.FAIL


def test_the_words_of_articles_pass(articles):
    assert coherence.conclude(is_a.lexical_signs(articles)) == (Verdict.PASS, [])


def test_articles_with_their_chunks_shuffled_fail(article_vectors):
    dice = np.random.default_rng(3)
    assert verdict_on(article_vectors) == Verdict.PASS
    assert verdict_on([dice.permutation(run) for run in article_vectors]) == Verdict.FAIL


def test_a_fifth_of_term_lists_among_articles_is_found(articles, family, embedder):
    mixed = as_documents([*articles[:32], *WORDINGS["A is a B"][:8]])
    report = check_documents(mixed, family, embedder)
    assert report.verdict == Verdict.FAIL
    assert report.odd_documents == sorted(f"document {n}" for n in range(32, 40))


@pytest.mark.parametrize("name", ["terms.txt", "terms.md"])
def test_one_file_of_terms_line_by_line_fails(name, tmp_path, family, embedder):
    lines = [line for document in WORDINGS["A subClassOf B"] for line in document]
    (tmp_path / name).write_text("\n".join(lines))
    assert check(tmp_path / name, family, embedder).verdict == Verdict.FAIL


def test_isolated_sentences_fail_for_want_of_a_window(family):
    report = check_documents([Document(f"{n}", "It rained again.") for n in range(9)], family)
    assert report.verdict == Verdict.FAIL
    assert any("no document has one" in reason for reason in report.reasons)


def test_nothing_to_judge_is_bad_input(family, tmp_path):
    with pytest.raises(InvalidInput, match="no text to judge"):
        check_documents([], family)
    with pytest.raises(InvalidInput, match="does not exist"):
        check(tmp_path / "nothing.txt", family)


@pytest.mark.parametrize("identified", [True, False])
def test_sequences_of_prose_pass_and_of_terms_fail_by_vectors_alone(
    identified, tmp_path, family, embedder, article_vectors
):
    prose = write_windows(tmp_path / "prose.npz", article_vectors, identified=identified)
    assert check(prose, family).verdict in (Verdict.PASS, *([] if identified else [Verdict.MARGINAL]))
    for wording in ("A is a B", "bullets", "paths", "facts of anybody", "wordy"):
        runs = [encode_texts(embedder, d).astype(np.float32) for d in WORDINGS[wording]]
        terms = write_windows(tmp_path / "terms.npz", runs, identified=identified)
        assert check(terms, family).verdict == Verdict.FAIL, wording


def test_windows_out_of_order_are_judged_as_in_order(tmp_path, family):
    path = write_windows(tmp_path / "w.npz", walks())
    report, stored = check(path, family), dict(np.load(path))
    order = np.random.default_rng(0).permutation(len(stored["doc_ids"]))
    np.savez(path, **{name: array[order] for name, array in stored.items()})
    assert check(path, family) == report


def test_the_older_systems_files_are_judged_as_this_projects_own(tmp_path, family):
    own = write_windows(tmp_path / "own.npz", walks())
    stored = np.load(own)
    older = {
        "context_sequences": stored["context_vectors"],
        "targets": stored["target_vectors"],
        "truth_keys": np.stack((stored["doc_ids"], stored["positions"]), axis=1),
    }
    np.savez(tmp_path / "older.npz", **older)
    assert check(tmp_path / "older.npz", family) == check(own, family)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vectors": np.zeros((3, 8))}, r"has no context_vectors \(nor .*\); it holds vectors"),
        ({"context_vectors": np.zeros((3, 2, 8)), "target_vectors": np.zeros((3, 8))}, r"\[N, 5, D\]"),
        ({"context_vectors": np.zeros((0, 5, 8)), "target_vectors": np.zeros((0, 8))}, "holds no window"),
        ({"context_vectors": np.full((9, 5, 8), np.nan), "target_vectors": np.ones((9, 8))}, "not finite"),
    ],
)
def test_a_file_that_holds_no_windows_is_bad_input(arrays, message, tmp_path, family):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InvalidInput, match=message):
        check(tmp_path / "x.npz", family)


def test_a_file_that_is_no_archive_is_bad_input(tmp_path, family):
    (tmp_path / "x.npz").write_bytes(b"PK, but not really")
    with pytest.raises(InvalidInput, match="cannot be read"):
        check(tmp_path / "x.npz", family)


@pytest.mark.parametrize(("runs", "code"), [(walks(), 0), (walks(count=3), 10), (chains(), 1), (None, 3)])
def test_the_command_exits_by_the_verdict(runs, code, tmp_path, monkeypatch, capsys):
    command = module(ROOT / "tools" / "test_sequential_coherence.py")
    path = write_windows(tmp_path / "w.npz", runs) if runs else tmp_path / "missing.npz"
    monkeypatch.setattr(sys, "argv", ["command", str(path), "--json"])
    assert command.main() == code
    printed = capsys.readouterr()
    if code == 3:
        assert "missing.npz" in printed.err
    else:
        report = json.loads(printed.out)
        assert command.EXIT_CODES[Verdict(report["verdict"])] == code
        assert {"neighbours", "shuffled", "other_documents", "by_distance"} <= set(report["profile"])
        monkeypatch.setattr(sys, "argv", ["command", str(path)])
        command.main()
        assert capsys.readouterr().out.startswith(report["verdict"])

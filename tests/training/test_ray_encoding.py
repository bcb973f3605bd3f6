"""Encoding on Ray gives what encoding in one process gives."""

import numpy as np
import pytest

from nextvec.family import Family
from services.families.embedder import Embedder
from training import corpus
from training.documents import Document
from training.ray_encoding import encode_on_ray

pytestmark = pytest.mark.ray


@pytest.fixture
def cluster():
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20)
    yield
    ray.shutdown()


def test_vectors_from_ray_are_those_of_one_process(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "DOCUMENTS_PER_PART", 2)
    family = Family.open("mini")
    words = ["tide", "mill", "garden", "winter", "ferry", "bell"]
    texts = [
        f"The {a} stood by the {b}. Nobody knew why the {b} was there." for a in words for b in words if a < b
    ]
    for name in ("one", "many"):
        documents = [Document(f"d{n}", text) for n, text in enumerate(texts[:6])]
        list(corpus.build(documents, family, tmp_path / name))
    list(corpus.encode(tmp_path / "one", Embedder.load(family), space=family.space))
    done = list(encode_on_ray(tmp_path / "many", family, workers=2))
    assert sum(done) == 12
    assert len(done) == 3
    for part in corpus.parts(tmp_path / "one"):
        other = tmp_path / "many" / part.name
        np.testing.assert_array_equal(np.load(part.with_suffix(".npy")), np.load(other.with_suffix(".npy")))
    assert (tmp_path / "one" / "vectors.json").read_text() == (tmp_path / "many" / "vectors.json").read_text()

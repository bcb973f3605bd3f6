"""A toy corpus, encoded with invented vectors in which a next vector can be predicted."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from training.corpus import SCHEMA
from training.sequences import Sequences

torch.set_num_threads(1)

DIMENSIONS = 16
LENGTHS = (12, 3, 20, 9, 5, 30, 6, 25)  # chunks of the documents; those of 5 and fewer have no window


@pytest.fixture
def corpus_folder(tmp_path):
    """Two parts of four documents each; each next vector is near to the one before last."""
    random = np.random.default_rng(1)
    folder = tmp_path / "corpus"
    folder.mkdir()
    for part in range(2):
        rows, vectors = [], []
        for number in range(4 * part, 4 * part + 4):
            walk = list(random.standard_normal((2, DIMENSIONS)))
            while len(walk) < LENGTHS[number]:
                walk.append(walk[-2] + 0.3 * random.standard_normal(DIMENSIONS))
            vectors += [3 * v for v in walk]
            rows += [
                {
                    "document_id": f"document {number}",
                    "position": position,
                    "text": f"Chunk {position} of {number}.",
                    "title": "",
                    "source": f"source {number % 2}",
                    "licence": "CC0-1.0",
                    "category": "",
                }
                for position in range(LENGTHS[number])
            ]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / f"part-{part:05}.parquet")
        np.save(folder / f"part-{part:05}.npy", np.asarray(vectors, dtype=np.float16))
    return folder


@pytest.fixture
def sequences(corpus_folder):
    return Sequences.load(corpus_folder)

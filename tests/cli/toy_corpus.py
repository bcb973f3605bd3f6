"""An encoded corpus of random vectors in the `mini` family's space."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nextvec.family import Family
from training.corpus import SCHEMA

SPACE = Family.open("mini").space


def write_corpus(folder, documents=60, chunks=20, licence="CC0-1.0"):
    """Writes one part of so many documents; returns the folder."""
    folder.mkdir()
    random = np.random.default_rng(0)
    rows = [
        {
            "document_id": f"document {number}",
            "position": position,
            "text": f"Chunk {position} of {number} says something.",
            "title": "",
            "source": "toys",
            "licence": licence,
            "category": "",
        }
        for number in range(documents)
        for position in range(chunks)
    ]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "part-00000.parquet")
    np.save(folder / "part-00000.npy", random.standard_normal((len(rows), 768)).astype(np.float16))
    (folder / "vectors.json").write_text(json.dumps({"space": SPACE}))
    return folder

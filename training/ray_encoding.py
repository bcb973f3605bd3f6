"""Encodes a corpus on Ray Data: the parts go to workers, on this machine or on many.

Each part is encoded whole by the same function as in one process, so the vectors are the same wherever a
part lands. All machines need the corpus folder and the family's folder at the same path.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nextvec.errors import StartupError
from nextvec.family import Family
from services.families.embedder import Embedder
from training import corpus


class _Encoder:
    """One worker: the encoder, loaded once, and the parts it is given."""

    def __init__(self, family: Path, threads: int, batch: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._embedder = Embedder.load(Family.open(family)).to(self._device)
        self._batch = batch

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"chunks": corpus.encode_part(Path(str(row["item"])), self._embedder, self._batch)}


def encode_on_ray(
    folder: Path, family: Family, workers: int = 1, threads: int = 1, batch: int = 64
) -> Iterator[int]:
    """Writes the vectors of every part that has none yet; yields each part's number of chunks, as it is done.

    Joins the cluster that `RAY_ADDRESS` names, else starts Ray on this machine. Each of the `workers` has
    `threads` cores, and a GPU where it finds one. Raises StartupError where Ray is not installed, and
    CorpusError as `corpus.encode` does.
    """
    try:
        import ray
    except ImportError as error:
        raise StartupError("encoding on Ray needs `pip install 'nextvec[ray]'`") from error
    corpus.claim_space(folder, family.space)
    ray.init(ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
    parts = [str(part.resolve()) for part in corpus.parts(folder)]
    encoded = ray.data.from_items(parts, override_num_blocks=max(1, len(parts))).map(
        _Encoder,
        fn_constructor_args=(family.folder.resolve(), threads, batch),
        concurrency=workers,
        num_cpus=threads,
    )
    for row in encoded.iter_rows():
        yield int(row["chunks"])
    corpus.describe_vectors(folder, family.space)

"""`nextvec encode`, `predict`, `snap` and `decode`: one stage at a time, on files."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import AsJson, as_dict, out, print_json
from nextvec.routes import ROUTES

if TYPE_CHECKING:
    from nextvec.vectors import Array

_BLOCK = 32
"""Units of work in one request; a stage batches as many."""

_WITH_LVM = ", ".join(route.name for route in ROUTES if route.has_lvm)

Vectors = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Vectors, a .npy file.")]
Out = Annotated[Path, typer.Option("--out", dir_okay=False, help="Where the vectors go, a .npy file.")]
Address = Annotated[
    str | None, typer.Option(help="host:port of the stage; without, it is started for this command.")
]
FamilyName = Annotated[str, typer.Option("--family", help="Model family.")]
Artifacts = Annotated[Path | None, typer.Option(help="Folder with families and models.")]


def encode(
    texts: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Texts, one on each line.")],
    out_file: Out,
    address: Address = None,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Encode texts, one on each line, to raw vectors [N, 768].

    The vectors' space is written beside them, to OUT.json; the other commands check it.
    """
    import numpy as np

    from nextvec.cli.files import read_texts, write_vectors
    from nextvec.cli.single import ask_all, reach
    from nextvec.v1.encoder_pb2 import EncodeRequest
    from nextvec.v1.encoder_pb2_grpc import EncoderServiceStub
    from nextvec.vectors import from_block

    lines = read_texts(texts)
    folder = artifacts or artifacts_folder()
    requests = [EncodeRequest(texts=lines[at : at + _BLOCK]) for at in range(0, len(lines), _BLOCK)]

    async def run() -> list[Any]:
        async with reach("encoder", address, family, folder) as channel:
            method = EncoderServiceStub(channel).Encode
            return await ask_all(method, requests, stage="encoder", at_once=4, doing="encoding")

    results = asyncio.run(run())
    vectors = np.concatenate([from_block(result.vectors, "the encoder's vectors") for result in results])
    space = results[0].vectors.space
    write_vectors(out_file, vectors, space)
    _report(out_file, vectors, space, results[0].model_id, as_json)


def predict(
    vectors: Vectors,
    out_file: Out,
    route: Annotated[str, typer.Option(help=f"Route whose model predicts: {_WITH_LVM}.")] = ROUTES[0].name,
    address: Address = None,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Predict the vector that follows every five in a row.

    A sequence [M, 768] gives [M - 4, 768], contexts [N, 5, 768] give [N, 768].
    """
    import numpy as np

    from nextvec.cli.files import read_vectors, windows, write_vectors
    from nextvec.cli.single import ask_all, reach
    from nextvec.family import Family
    from nextvec.v1.lvm_pb2 import PredictRequest
    from nextvec.v1.lvm_pb2_grpc import LvmServiceStub
    from nextvec.vectors import from_block, to_block

    folder = artifacts or artifacts_folder()
    values, space = read_vectors(vectors, Family.open(family, folder / "families"))
    contexts = windows(values, 5, vectors)
    requests = [
        PredictRequest(route=route, context=to_block(contexts[at : at + _BLOCK], space))
        for at in range(0, len(contexts), _BLOCK)
    ]

    async def run() -> list[Any]:
        async with reach("lvm", address, family, folder) as channel:
            method = LvmServiceStub(channel).Predict
            return await ask_all(method, requests, stage="lvm", at_once=4, doing="predicting")

    results = asyncio.run(run())
    predicted = np.concatenate([from_block(result.prediction, "the prediction") for result in results])
    write_vectors(out_file, predicted, results[0].prediction.space)
    _report(out_file, predicted, results[0].prediction.space, results[0].model_id, as_json)


def snap(
    vectors: Vectors,
    out_file: Out,
    context: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Context of each vector: what `predict` read. Without, itself."
        ),
    ] = None,
    policy: Annotated[str, typer.Option(help="Policy: barycentre or medoid.")] = "barycentre",
    address: Address = None,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Pull predicted vectors [N, 768] onto the region where real text lives. --json tells the neighbours."""
    import numpy as np

    from nextvec.cli.files import read_vectors, windows, write_vectors
    from nextvec.cli.single import ask_all, reach
    from nextvec.errors import InvalidInput
    from nextvec.family import Family
    from nextvec.v1.snap_pb2 import ProjectRequest
    from nextvec.v1.snap_pb2_grpc import SnapServiceStub
    from nextvec.vectors import from_block, to_block

    folder = artifacts or artifacts_folder()
    source = Family.open(family, folder / "families")
    values, space = read_vectors(vectors, source)
    rows = _rows(values)
    contexts = windows(read_vectors(context, source)[0], 5, context) if context else rows[:, None]
    if len(contexts) != len(rows):
        raise InvalidInput(f"{context} gives {len(contexts)} contexts for {len(rows)} vectors in {vectors}")
    requests = [
        ProjectRequest(vector=to_block(row, space), context=to_block(around, space), policy=policy)
        for row, around in zip(rows, contexts, strict=True)
    ]

    async def run() -> list[Any]:
        async with reach("snap", address, family, folder) as channel:
            method = SnapServiceStub(channel).Project
            return await ask_all(method, requests, stage="snap", at_once=_BLOCK, doing="snapping")

    results = asyncio.run(run())
    snapped = np.stack([from_block(result.vector, "the snapped vector").reshape(-1) for result in results])
    write_vectors(out_file, snapped, space)
    _report(out_file, snapped, space, results[0].bank_id, as_json, [_without_vectors(r) for r in results])


def decode(
    vectors: Vectors,
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="Correction steps, unchecked; without, the ladder with its checks."),
    ] = None,
    address: Address = None,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Decode vectors [N, 768] to text, one a line. --json tells steps, cosine and every hypothesis."""
    from nextvec.cli.files import read_vectors
    from nextvec.cli.single import ask_all, reach
    from nextvec.family import Family
    from nextvec.v1.decoder_pb2 import DecodeRequest
    from nextvec.v1.decoder_pb2_grpc import DecoderServiceStub
    from nextvec.vectors import to_block

    folder = artifacts or artifacts_folder()
    values, space = read_vectors(vectors, Family.open(family, folder / "families"))
    requests = [
        DecodeRequest(
            vector=to_block(row, space),
            rungs=[] if steps is None else [steps],
            skip_checks=steps is not None,
        )
        for row in _rows(values)
    ]

    async def run() -> list[Any]:
        async with reach("decoder", address, family, folder) as channel:
            method = DecoderServiceStub(channel).Decode
            return await ask_all(method, requests, stage="decoder", at_once=_BLOCK, doing="decoding")

    results = asyncio.run(run())
    if as_json:
        print_json([as_dict(result) for result in results])
        return
    for result in results:
        out.print(escape(result.text), soft_wrap=True)


def _rows(vectors: "Array") -> "Array":
    """Vectors of any number of axes → [N, D]."""
    return vectors.reshape(-1, vectors.shape[-1])


def _without_vectors(result: Any) -> dict[str, Any]:
    return {
        name: value for name, value in as_dict(result).items() if not name.endswith(("vector", "vectors"))
    }


def _report(
    path: Path,
    vectors: "Array",
    space: str,
    model_id: str,
    as_json: bool,
    items: list[dict[str, Any]] | None = None,
) -> None:
    if as_json:
        record = {"out": str(path), "shape": list(vectors.shape), "space": space, "model_id": model_id}
        print_json({**record, "items": items} if items is not None else record)
        return
    out.print(f"{path}: {len(vectors):,} vectors of {vectors.shape[-1]}, space {space}, by {model_id}")

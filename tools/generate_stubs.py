"""Generates the Python stubs of `protos/` into a folder: `python tools/generate_stubs.py [FOLDER]`.

The folder defaults to the repository's root, where the committed stubs live in `nextvec/v1/`.
"""

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"


def generate(folder: Path) -> list[Path]:
    """Writes `*_pb2.py`, `*_pb2.pyi` and `*_pb2_grpc.py` under `folder` and returns their paths."""
    sources = sorted(PROTOS.rglob("*.proto"))
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--python_out={folder}",
            f"--pyi_out={folder}",
            f"--grpc_python_out={folder}",
            *(str(source) for source in sources),
        ]
    )
    if status != 0:
        raise SystemExit(f"protoc failed with status {status}")
    stems = [folder / source.relative_to(PROTOS).with_suffix("") for source in sources]
    return [
        stem.with_name(stem.name + ending)
        for stem in stems
        for ending in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
    ]


if __name__ == "__main__":
    for path in generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT):
        print(path)

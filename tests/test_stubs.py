"""The committed stubs are what the protos generate."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_committed_stubs_are_fresh(tmp_path):
    generate = runpy.run_path(str(ROOT / "tools" / "generate_stubs.py"))["generate"]
    fresh = {path.name: path.read_text() for path in generate(tmp_path)}
    committed = {path.name: path.read_text() for path in (ROOT / "nextvec" / "v1").glob("*_pb2*")}
    assert committed == fresh, "run tools/generate_stubs.py"

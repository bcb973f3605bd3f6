"""Imports point one way: protos, then nextvec, then services and gateway.

The command, `nextvec.cli`, stands above all of them: it starts everything, and nothing imports it.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("encoder", "lvm", "snap", "decoder")

FORBIDDEN = {
    "nextvec": ("torch", "transformers", "services", "gateway", "training", "benchmarks", "nextvec.cli"),
    "gateway": ("torch", "transformers", "faiss", "services", "training", "benchmarks", "nextvec.cli"),
    "services": ("gateway", "training", "benchmarks", "nextvec.cli"),
    "training": ("gateway", "benchmarks", "nextvec.cli"),
    "services/families": tuple(f"services.{stage}" for stage in STAGES),
    "services/layers": (*(f"services.{stage}" for stage in STAGES), "services.families"),
    **{
        f"services/{stage}": tuple(f"services.{other}" for other in STAGES if other != stage)
        for stage in STAGES
    },
}


def imported(path: Path) -> set[str]:
    """Full names of everything a file imports, wherever in the file it does so."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parent.parts
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_point_one_way(folder):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not path.is_relative_to(ROOT / "nextvec/cli") and path != ROOT / "nextvec/cli.py"
        for name in sorted(imported(path))
        if any(name == root or name.startswith(f"{root}.") for root in FORBIDDEN[folder])
    ]
    assert not wrong, "\n".join(wrong)

"""Nothing that is loaded can run code: no pickles, no remote code, only safetensors from a hub."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("nextvec", "services", "gateway", "training", "benchmarks")

_RUNS_CODE = {
    ("pickle", "load"),
    ("pickle", "loads"),
    ("pickle", "Unpickler"),
    ("dill", "load"),
    ("cloudpickle", "load"),
    ("joblib", "load"),
    ("marshal", "loads"),
    ("yaml", "load"),
    ("shelve", "open"),
    ("hub", "load"),
}

_FILES = sorted(path for folder in SHIPPED for path in (ROOT / folder).rglob("*.py"))


def calls(path):
    """Every call of a file: the dotted end of its name, and its keywords."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Call):
            function = node.func
            last = getattr(function, "attr", getattr(function, "id", ""))
            owner = getattr(function, "value", None)
            before = getattr(owner, "attr", getattr(owner, "id", ""))
            yield node, before, last, {keyword.arg: keyword.value for keyword in node.keywords}


def told(keywords, name, value):
    """Whether a call says `name=value`, literally."""
    given = keywords.get(name)
    return isinstance(given, ast.Constant) and given.value is value


def faults(path):
    """What a file does that could run code out of a file it loads."""
    for node, before, last, keywords in calls(path):
        where = f"{path.name}:{node.lineno}"
        if (before, last) in _RUNS_CODE or (isinstance(node.func, ast.Name) and last in ("eval", "exec")):
            yield f"{where}: {before}.{last}"
        if (before, last) == ("torch", "load") and not told(keywords, "weights_only", True):
            yield f"{where}: torch.load without weights_only=True"
        if "allow_pickle" in keywords and not told(keywords, "allow_pickle", False):
            yield f"{where}: {before}.{last} of pickles"
        if "trust_remote_code" in keywords and not told(keywords, "trust_remote_code", False):
            yield f"{where}: trust_remote_code"
        if "shell" in keywords and not told(keywords, "shell", False):
            yield f"{where}: a shell"


def imported_names(path):
    """Names that a file takes out of modules, as (module, name)."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("folder", SHIPPED)
def test_nothing_shipped_runs_code_out_of_files(folder):
    found = [fault for path in _FILES if path.is_relative_to(ROOT / folder) for fault in faults(path)]
    assert not found, "\n".join(found)


def test_nothing_is_taken_out_of_pickle_under_a_name_of_its_own():
    taken = [pair for path in _FILES for pair in imported_names(path) if pair[0] in ("pickle", "dill")]
    assert not taken
    assert not [pair for path in _FILES for pair in imported_names(path) if pair == ("torch", "load")]


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.load(f)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p, allow_pickle=True)",
        "Model.from_pretrained(n, trust_remote_code=True)",
        "Model.from_pretrained(n, trust_remote_code=flag)",
        "subprocess.run(c, shell=True)",
        "eval(text)",
    ],
)
def test_the_check_finds_what_it_looks_for(tmp_path, code):
    path = tmp_path / "module.py"
    path.write_text(code)
    assert list(faults(path))


def test_a_hub_gives_only_data():
    from services.families import fetch

    path = Path(fetch.__file__)
    (download,) = [keywords for _, _, last, keywords in calls(path) if last == "snapshot_download"]
    assert {"allow_patterns", "ignore_patterns"} <= set(download)
    data = (".json", ".safetensors", ".bin", ".model", ".txt")
    assert all(pattern.endswith(data) for pattern in fetch._WANTED)

"""The build file against the repository: paths, extras, ports, and what an image may do."""

import json
import re
import tomllib

import pytest
from packaging.requirements import Requirement

from nextvec.routes import ROUTES, STAGES
from tests.deploy.dockerfile import PATH, Dockerfile, fill, is_ignored
from tests.deploy.rendering import PROCESSES, ROOT

FILE = Dockerfile(PATH.read_text())
IMAGES = (*PROCESSES, "models")
IGNORED = [
    line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINNED = re.compile(r"python:3\.1[1-9]\.\d+-slim-\w+")


def own_copies():
    """Paths copied out of the repository."""
    texts = [text for stage in FILE.stages for text in stage.all("COPY") if "--from=" not in text]
    return [path for text in texts for path in text.split()[:-1]]


def environment(image):
    """All variables of an image."""
    text = " ".join(text for stage in FILE.lineage(STAGE=image) for text in stage.all("ENV"))
    return dict(re.findall(r"(\w+)=(\S+)", text))


def test_what_is_copied_is_there_and_not_ignored():
    assert own_copies()
    for path in own_copies():
        assert (ROOT / path).exists(), path
        assert not is_ignored(path, IGNORED), path


def test_what_no_image_needs_stays_outside():
    for path in (".git/HEAD", ".venv/bin/python", "artifacts/cache/corpus", "tests/conftest.py", "runs/1"):
        assert is_ignored(path, IGNORED), path
    for path in ("nextvec/__pycache__/x.pyc", "nextvec.egg-info/PKG-INFO"):
        assert is_ignored(path, IGNORED), path
    assert not is_ignored("artifacts/families/mini/bank/bank.json", IGNORED)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("weights", ["mounted", "baked"])
def test_every_image_comes_from_the_one_pinned_base(image, weights):
    line = FILE.lineage(STAGE=image, WEIGHTS=weights)
    assert line[-1].name == "python"
    assert PINNED.fullmatch(line[-1].source)
    names = [stage.name for stage in line]
    assert ("runtime-baked" in names) == (weights == "baked" and image != "models")


def test_what_is_taken_from_another_build_stage_is_there():
    names = {stage.name for stage in FILE.stages}
    for stage in FILE.stages:
        for instruction in stage.instructions:
            for source in re.findall(r"\bfrom=([\w-]+)", instruction.text):
                assert source in names, source


@pytest.mark.parametrize("process", PROCESSES)
def test_the_environment_has_the_stages_extra_and_torch_only_where_it_is_named(process):
    (stage,) = (stage for stage in FILE.stages if stage.name == "environment")
    assert "[${STAGE},otel]" in stage.all("RUN")[0]
    assert "-c /build/requirements.lock" in stage.all("RUN")[0]
    assert "--editable" not in stage.all("RUN")[0]
    start = fill(stage.source, {"STAGE": process})
    (begin,) = (stage for stage in FILE.stages if stage.name == start)
    names = {Requirement(line).name for line in EXTRAS[process]}
    assert begin.source == ("with-torch" if "torch" in names else "plain")


def test_torch_is_the_lock_files_version_from_the_index_that_the_builder_names():
    (stage,) = (stage for stage in FILE.stages if stage.name == "with-torch")
    assert any(text == "TORCH_INDEX=" for text in stage.all("ARG"))
    (run,) = stage.all("RUN")
    assert "grep '^torch==' /build/requirements.lock" in run
    assert re.search(r"^torch==\S+$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)


@pytest.mark.parametrize("process", PROCESSES)
def test_an_image_runs_its_process_on_its_ports_and_checks_its_health(process):
    (stage,) = (stage for stage in FILE.stages if stage.name == process)
    python, option, module = json.loads(stage.all("ENTRYPOINT")[0])
    assert (python, option) == ("python", "-m")
    assert module == ("gateway" if process == "gateway" else f"services.{process}")
    assert (ROOT / module.replace(".", "/") / "__main__.py").is_file()
    first, _, last = stage.all("EXPOSE")[0].partition("-")
    ports = {stage.port for stage in STAGES if stage.name == process} or {route.port for route in ROUTES}
    assert set(range(int(first), int(last or first) + 1)) == ports
    command = json.loads(re.search(r"CMD (\[.*\])", stage.all("HEALTHCHECK")[0])[1])
    assert command == ["python", "-m", "nextvec.probe", process]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_a_number_that_is_not_root(image):
    (user,) = (text for stage in FILE.lineage(STAGE=image) for text in stage.all("USER"))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_writes_to_tmp_alone(process):
    variables = environment(process)
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert variables["HOME"] == "/tmp"
    assert variables["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_labelled(image):
    assert FILE.stages[-1].source == "${STAGE}"
    (labels,) = FILE.stages[-1].all("LABEL")
    for label in ("title", "description", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert f"VERSION={PROJECT['version']}" in FILE.stages[-1].all("ARG")

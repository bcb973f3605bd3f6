"""The repository holds what it promises: targets, extras, provenance, and commands that are real."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from nextvec.cli import app
from nextvec.routes import ROUTES, STAGES

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "artifacts" / "lvm" / "models"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
README = (ROOT / "README.md").read_text()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def shell_lines() -> list[str]:
    """The commands in the README's shell blocks, continued lines joined, comments left out."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


def names(requirements: list[str]) -> set[str]:
    return {Requirement(line).name.lower() for line in requirements}


def extra_lines(*extras: str) -> list[str]:
    """What extras ask for, those that they name included."""
    lines = [line for extra in extras for line in EXTRAS[extra]]
    inner = [Requirement(line) for line in lines if Requirement(line).name == "nextvec"]
    return lines + [line for requirement in inner for line in extra_lines(*requirement.extras)]


def test_the_promised_make_targets_exist():
    assert {"setup", "demo", "test", "check", "lock"} <= targets()


def test_continuous_integration_runs_the_tests():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_every_stage_has_an_extra_and_the_gateway_needs_no_torch():
    assert {*(stage.name for stage in STAGES), "gateway", "all"} <= set(EXTRAS)
    heavy = {"torch", "transformers", "faiss-cpu", "vec2text"}
    assert not heavy & names([*PROJECT["dependencies"], *EXTRAS["gateway"]])


def test_everything_that_setup_installs_is_in_the_lock_file_in_one_plain_version():
    lines = [
        line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")
    ]
    locked = {}
    for line in lines:
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        assert "+" not in specifier.version, f"{line} names a local build"
        locked[re.sub(r"[-_.]+", "-", requirement.name.lower())] = specifier.version
    for line in [*PROJECT["dependencies"], *extra_lines("all", "reference", "dev")]:
        requirement = Requirement(line)
        if requirement.name != "nextvec":
            version = locked.get(re.sub(r"[-_.]+", "-", requirement.name.lower()))
            assert version, f"{requirement.name} is not in requirements.lock; run make lock"
            assert requirement.specifier.contains(version, prereleases=True), f"{line} against {version}"


def test_every_route_has_a_model_with_provenance():
    for route in ROUTES:
        if not route.has_lvm:
            continue
        card = json.loads((MODELS / route.link / "model.json").read_text())
        assert card["trained_on"], route.name
        for source in card["trained_on"]:
            assert source["source"]
            assert source["licence"]
            assert source["chunks"] > 0
        assert card["metrics"], route.name
        assert card["config"], route.name
        assert (MODELS / route.link / "model.safetensors").is_file()


@pytest.mark.parametrize("part", ["inverter", "corrector"])
def test_every_part_of_the_default_family_says_what_it_was_trained_on(part):
    card = json.loads((ROOT / "artifacts" / "families" / "mini" / part / "card.json").read_text())
    assert card["trained_on"]


def test_shipped_weights_stay_within_their_size():
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "artifacts"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    weights = [ROOT / name for name in tracked if name.endswith(".safetensors")]
    assert sum(path.stat().st_size for path in weights if path.is_file()) <= 160 * 2**20


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("nextvec ")])
def test_the_readmes_commands_are_real(line):
    words = shlex.split(line)[1:]
    options = [word for word in words if word.startswith("--")]
    while words:
        result = CliRunner().invoke(app, [*words, "--help"])
        if result.exit_code == 0:
            break
        words.pop()
    assert words, f"no such command: {line}"
    for option in options:
        assert option in result.stdout, f"{line}: no {option}"


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("make ")])
def test_the_readmes_make_targets_are_real(line):
    assert line.split()[1] in targets()


def test_the_readmes_python_runs(toy_gateway):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code.replace("localhost:9001", toy_gateway.address), "README.md", "exec"), {})
    assert toy_gateway.requests[0].max_chunks == 2


def test_the_readmes_grpcurl_calls_name_real_methods_and_fields():
    from google.protobuf import json_format

    from nextvec.v1 import gateway_pb2

    calls = [shlex.split(line) for line in shell_lines() if line.startswith("grpcurl ")]
    assert calls
    for words in calls:
        if "-d" in words:
            json_format.Parse(words[words.index("-d") + 1], gateway_pb2.CompleteRequest())
            service, method = words[-1].split("/")
            descriptor = gateway_pb2.DESCRIPTOR.services_by_name[service.rsplit(".", 1)[-1]]
            assert descriptor.full_name == service
            assert method in descriptor.methods_by_name


def test_the_readmes_links_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_the_readme_names_every_port(route):
    assert f"| {route.port} | `{route.name}` |" in README

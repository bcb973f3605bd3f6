"""The page for operators names overlays, files and commands that are there."""

import re
import shlex

import pytest
from typer.testing import CliRunner

from nextvec.cli import app
from tests.deploy.rendering import COMPONENTS, OVERLAYS, ROOT
from tests.deploy.test_dockerfile import IMAGES

PAGE = (ROOT / "docs" / "operations.md").read_text()
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = re.findall(r"^nextvec .*", BLOCKS, re.MULTILINE)


def test_every_path_is_there():
    paths = set(re.findall(r"\b(?:deploy|artifacts|docs)/[\w./-]*\w", PAGE)) - {
        "artifacts/families/mini/bank"
    }
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_is_told_of(overlay):
    assert f"| `deploy/overlays/{overlay}` |" in PAGE


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_is_told_of(component):
    assert f"`{component}`" in PAGE


def test_every_image_is_built():
    assert f"for stage in {' '.join(IMAGES)}; do" in PAGE


@pytest.mark.parametrize("command", COMMANDS)
def test_the_pages_commands_are_real(command):
    words = shlex.split(command, comments=True)[1:]
    names = [word for word in words if re.fullmatch(r"[a-z]+", word)]
    result = CliRunner().invoke(app, [*names, "--help"])
    assert result.exit_code == 0, command
    for option in (word for word in words if word.startswith("--")):
        assert option in result.stdout, f"{command}: no {option}"

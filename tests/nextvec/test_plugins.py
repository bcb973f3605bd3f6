import sys

import pytest

from nextvec.errors import NotFound
from nextvec.plugins import PluginFolder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    package = tmp_path / "toy_plugins"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "plain.py").write_text("VALUE = 1\n")
    (package / "broken.py").write_text("raise RuntimeError('imported')\n")
    (package / "_hidden.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield PluginFolder("toy_plugins", "toy")
    for name in [name for name in sys.modules if name.startswith("toy_plugins")]:
        del sys.modules[name]


def test_names_are_the_modules_and_nothing_is_imported(folder):
    assert folder.names() == ["broken", "plain"]
    assert "toy_plugins.broken" not in sys.modules


def test_only_the_chosen_one_is_imported(folder):
    assert folder.load("plain").VALUE == 1
    assert "toy_plugins.broken" not in sys.modules


@pytest.mark.parametrize("name", ["fancy", "_hidden", "", "plain.x", "../plain"])
def test_an_unknown_name_lists_the_known_ones(folder, name):
    with pytest.raises(NotFound) as caught:
        folder.load(name)
    assert caught.value.message == f"unknown toy {name!r}; have broken, plain"

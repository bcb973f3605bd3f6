"""Training presets: one TOML file per model and machine, read into the trainers' dataclasses."""

import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from nextvec.errors import InvalidInput

Preset = TypeVar("Preset")
FOLDER = Path(__file__).parent


class PresetError(InvalidInput):
    """A preset does not exist, or holds unknown settings or ones that do not go together."""


def read_preset(kind: type[Preset], name: str) -> Preset:
    """Reads `<name>.toml` of this folder, or a path, into a preset dataclass.

    Raises PresetError naming the file and every unknown setting.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
        raise PresetError(f"no preset {name!r}; have {known}, or give the path of a .toml file")
    return _fill(kind, read_table(path), path)


def read_table(path: Path) -> dict[str, Any]:
    """What a preset's file holds. Raises PresetError where it is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PresetError(f"{path} is not TOML: {error}") from None


def _fill(kind: type[Preset], values: dict[str, Any], path: Path) -> Preset:
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise PresetError(
            f"{path}: unknown settings {', '.join(unknown)}; {kind.__name__} has {', '.join(sorted(known))}"
        )
    return kind(
        **{
            name: _fill(hints[name], value, path) if is_dataclass(hints[name]) else value
            for name, value in values.items()
        }
    )

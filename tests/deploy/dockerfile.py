"""The build file as a list of instructions by build stage."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from string import Template

from tests.deploy.rendering import ROOT

PATH = ROOT / "deploy" / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """Such as COPY and what follows it, continued lines joined."""

    name: str
    text: str


@dataclass
class BuildStage:
    """From one FROM to the next; `source` is an image or another build stage, arguments not filled in."""

    source: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """What follows every instruction of this name."""
        return [instruction.text for instruction in self.instructions if instruction.name == name]


class Dockerfile:
    """Build stages in order, and the arguments before the first with their defaults."""

    def __init__(self, text: str) -> None:
        self.arguments: dict[str, str] = {}
        self.stages: list[BuildStage] = []
        for instruction in _instructions(text):
            if instruction.name == "FROM":
                source, _, name = instruction.text.partition(" AS ")
                self.stages.append(BuildStage(source, name))
            elif self.stages:
                self.stages[-1].instructions.append(instruction)
            else:
                assert instruction.name == "ARG"
                key, _, value = instruction.text.partition("=")
                self.arguments[key] = value

    def lineage(self, **arguments: str) -> list[BuildStage]:
        """The build stages that the last one is made from, itself first, up to one from an image."""
        values = self.arguments | arguments
        line = [self.stages[-1]]
        while (source := fill(line[-1].source, values)) in (names := {s.name: s for s in self.stages}):
            line.append(names[source])
        return line


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replaces ${NAME}. Raises KeyError for a name without a value."""
    return Template(text).substitute(values)


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps a path, or a folder it is in, out of the build."""
    parts = Path(path).parts
    inside = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    ignored = False
    for line in patterns:
        pattern = line.removeprefix("!")
        # A star does not reach over a slash, two do; the patterns here have no star in the middle.
        names = [name for name in inside if fnmatch(name, pattern) and name.count("/") == pattern.count("/")]
        if names or (pattern.startswith("**/") and any(fnmatch(part, pattern[3:]) for part in parts)):
            ignored = not line.startswith("!")
    return ignored


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [Instruction(name, rest.strip()) for name, _, rest in pairs]

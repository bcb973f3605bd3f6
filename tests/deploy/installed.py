"""Environments as the images have them: the project's wheel, and what one extra of it needs; nothing else.

They are made of links into this environment, so that they take no network and next to no time.
"""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.rendering import ROOT


def build_wheel(copied: Iterable[str], folder: Path) -> Path:
    """The project's wheel, built of nothing but the `copied` paths of the repository."""
    source = folder / "source"
    source.mkdir()
    for name in copied:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(path, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True, timeout=300)
    (wheel,) = folder.glob("nextvec-*.whl")
    return wheel


class Installed:
    """This environment's packages, to make smaller environments of."""

    def __init__(self) -> None:
        self._root = Path(sysconfig.get_path("purelib"))
        self._distributions = {canonicalize_name(d.metadata["Name"]): d for d in distributions()}

    def needs(self, requirements: Iterable[str], extras: set[str]) -> set[str]:
        """Names of all packages that requirements ask for with these extras, and those ask for in turn."""
        found: set[str] = set()
        for line in requirements:
            requirement = Requirement(line)
            name = canonicalize_name(requirement.name)
            marker = requirement.marker
            wanted = marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""})
            if wanted and name != "nextvec" and name not in found:
                found |= {name} | self._below(name, frozenset(requirement.extras), found | {name})
        return found

    def _below(self, name: str, extras: frozenset[str], seen: set[str]) -> set[str]:
        requires = self._distributions[name].requires or []
        fresh = [line for line in requires if canonicalize_name(Requirement(line).name) not in seen]
        return self.needs(fresh, set(extras))

    def install(self, wheel: Path, extras: set[str], site: Path) -> set[str]:
        """Makes `site` hold the wheel and what it needs; returns the names of the packages."""
        site.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        (own,) = site.glob("nextvec-*.dist-info")
        names = self.needs(Distribution.at(own).requires or [], extras)
        files = {name: self._files(name) for name in names}
        owners = Counter(top for paths in files.values() for top in {path.parts[0] for path in paths})
        for paths in files.values():
            # A folder of one package is one link; one that packages share, such as google, has their files.
            for path in {path if owners[path.parts[0]] > 1 else Path(path.parts[0]) for path in paths}:
                (site / path).parent.mkdir(parents=True, exist_ok=True)
                (site / path).symlink_to(self._root / path)
        return names

    def _files(self, name: str) -> set[Path]:
        """Files in the folder of packages, as paths in it; commands lie outside of it."""
        files = self._distributions[name].files or []
        return {Path(file) for file in files if file.parts[0] != ".." and "__pycache__" not in file.parts}

"""A folder as a registry: every module of a package is one entry, imported only when chosen."""

import importlib
import importlib.util
import pkgutil
from types import ModuleType

from nextvec.errors import NotFound


class PluginFolder:
    """The modules of `package`, such as "services.lvm.models"; `noun` names one of them in messages."""

    def __init__(self, package: str, noun: str) -> None:
        self.package = package
        self.noun = noun

    def names(self) -> list[str]:
        """Names of all entries, sorted, without importing any; modules whose name begins with _ are not."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"no package {self.package}")
        modules = pkgutil.iter_modules(spec.submodule_search_locations)
        return sorted(module.name for module in modules if not module.name.startswith("_"))

    def load(self, name: str) -> ModuleType:
        """Imports the entry called `name`; raises NotFound, listing the known ones."""
        known = self.names()
        if name not in known:
            raise NotFound(f"unknown {self.noun} {name!r}; have {', '.join(known)}")
        return importlib.import_module(f"{self.package}.{name}")

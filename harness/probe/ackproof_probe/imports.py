"""Calls a hook right after a module has been imported, and before anyone can use it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

Hook = Callable[[ModuleType], object]

_hooks: dict[str, list[Hook]] = {}


def when_imported(name: str, hook: Hook) -> None:
    """Call ``hook(module)`` once ``name`` is imported; at once if it already is."""
    if name in sys.modules:
        hook(sys.modules[name])
        return
    if not _hooks:
        sys.meta_path.insert(0, _Finder())
    _hooks.setdefault(name, []).append(hook)


class _Finder(MetaPathFinder):
    """Finds nothing itself: lets the others find, and puts the hook behind their loader."""

    def __init__(self) -> None:
        self._looking: set[str] = set()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        del path, target
        if fullname not in _hooks or fullname in self._looking:
            return None
        self._looking.add(fullname)
        try:
            spec = find_spec(fullname)
        finally:
            self._looking.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, real: Loader) -> None:
        self._real = real

    def __getattr__(self, name: str) -> object:
        """``python -m NAME`` asks the loader for the code, and never executes the module."""
        return getattr(self._real, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # From here on the module is as if we had not been there: readers of its resources
        # and of its source ask its loader.
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        for hook in _hooks.pop(module.__name__, ()):
            hook(module)

"""Names that users type: an unknown one gets the near ones."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Iterable

from harness.model import UsageError


def known(name: str, names: Iterable[str], what: str) -> str:
    """``name``, if it is one of ``names``. Raises UsageError that says what is near, or there."""
    there = list(names)
    if name in there:
        return name
    near = difflib.get_close_matches(name, there)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(there)}."
    raise UsageError(f"there is no {what} {name!r}", hint)


def modules(path: Iterable[str]) -> list[str]:
    """The modules of a package that has one a member, by its ``__path__``, in alphabetical order.
    Imports none of them."""
    return sorted(one.name for one in pkgutil.iter_modules(path) if not one.name.startswith("_"))

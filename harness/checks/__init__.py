"""One file a check: a pure function from History to Verdict, as a value with a name.

A check is a frozen struct, so that it can be written beside the history and judged again.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

import msgspec

from harness.model import UsageError
from harness.protocols import Check


def dump(check: Check) -> dict[str, object]:
    """``{"check": "module:Class", "params": {...}}``, which ``load`` turns back."""
    kind = type(check)
    params = msgspec.to_builtins(check)
    return {"check": f"{kind.__module__}:{kind.__qualname__}", "params": params}


def load(stored: dict[str, object]) -> Check:
    """The check that ``dump`` wrote. Raises UsageError when its module is not there."""
    module, _, name = str(stored["check"]).partition(":")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"the check {stored['check']} cannot be loaded ({error})",
            "Run from the folder where its module can be imported.",
        ) from error
    return cast("Check", msgspec.convert(stored["params"], kind))

"""One file a check: a pure function from History to Verdict, as a value with a name.

A check is a frozen struct, so that it can be written beside the history and judged again. It is
stored by its name and its parameters, and looked up among those that are installed: here, and
under the entry points ``ackproof.checks`` of other distributions. Nothing is ever imported by a
path that stands in a file: a run folder may come from anybody.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

import msgspec

from harness.model import UsageError
from harness.naming import known, modules
from harness.protocols import Check

ENTRY_POINTS = "ackproof.checks"


def names() -> list[str]:
    """Name every check that is installed, in alphabetical order. Imports none of them."""
    return sorted({*modules(__path__)} | {point.name for point in entry_points(group=ENTRY_POINTS)})


def dump(check: Check) -> dict[str, object]:
    """``{"check": NAME, "params": {...}}``, which ``load`` turns back; of a check that is not
    installed, the name of its class, which it refuses."""
    kind = type(check)
    installed = next((one for one in names() if _kind(one) is kind), None)
    name = installed or f"{kind.__module__}:{kind.__name__}"
    return {"check": name, "params": msgspec.to_builtins(check)}


def load(stored: dict[str, object]) -> Check:
    """The check that ``dump`` wrote. Raises UsageError for one that is not installed."""
    told = str(stored["check"])
    module, _, cls = told.partition(":")
    # As 0.1.0 wrote them: harness.checks.NAME:Class.
    name = module.removeprefix(f"{__name__}.") if cls else told
    if cls and (name not in names() or _kind(name).__name__ != cls):
        raise UsageError(
            f"the check {told!r} is not one that is installed",
            f"A check of your own can be, under the entry points {ENTRY_POINTS!r}.",
        )
    check: Check = msgspec.convert(stored["params"], _kind(known(name, names(), "check")))
    return check


def _kind(name: str) -> type:
    for point in entry_points(group=ENTRY_POINTS, name=name):
        kind: type = point.load()
        return kind
    module = import_module(f"{__name__}.{name}")
    [kind] = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and one.__module__ == module.__name__ and hasattr(one, "judge")
    ]
    return kind

"""What the probe cannot watch in this Celery or kombu: told to the harness, never skipped.

A step whose function is gone is in ``worker_ready``; a hook that failed otherwise is an event
of its own, which puts the trial in doubt. Neither breaks the user's process.
"""

from __future__ import annotations

from types import ModuleType

from ackproof_steps import STEPS, Step

from ackproof_probe.imports import Hook
from ackproof_probe.record import record

steps: list[str] = []
"""Steps whose function is not where it should be: ``name: why``."""


def there(module: ModuleType, where: str) -> bool:
    """Whether the module has what the catalogue names at ``where``; else it is noted."""
    lacking = [step for step in STEPS if step.where.startswith(where) and _lacks(module, step)]
    told = dict.fromkeys(f"{step.name}: {step.where} is not there" for step in lacking)
    steps.extend(line for line in told if line not in steps)
    return not lacking


def safely(hook: Hook) -> Hook:
    """The hook, so that what it stumbles over does not break the import that it hangs on."""

    def called(module: ModuleType) -> None:
        try:
            hook(module)
        except Exception as error:
            there(module, f"{module.__name__}:")
            record("probe_failed", where=module.__name__, error=repr(error))

    return called


def _lacks(module: ModuleType, step: Step) -> bool:
    found: object = module
    try:
        for name in step.where.partition(":")[2].split("."):
            found = getattr(found, name)
    except AttributeError:
        return True
    return False

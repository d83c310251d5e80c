"""Records when the function that applies a task's effect is entered and left."""

from __future__ import annotations

from functools import wraps
from types import ModuleType
from typing import Any

from ackproof_probe import steps
from ackproof_probe.record import record


def watch(function: str, module: ModuleType) -> None:
    """Hook on the user's module: ``function`` applies the effect of the current task."""
    apply = getattr(module, function)

    @wraps(apply)
    def watched(*args: object, **kwargs: object) -> object:
        from celery import current_task

        request = current_task.request if current_task else None
        who: dict[str, Any] = {
            "task_id": getattr(request, "id", "") or "",
            "retries": getattr(request, "retries", 0),
            "task": current_task.name if current_task else "",
        }
        record("effect_begin", **who)
        steps.reach("effect_begin", **who)
        result = apply(*args, **kwargs)
        record("effect", **who)
        steps.reach("effect", **who)
        return result

    setattr(module, function, watched)

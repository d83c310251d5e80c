"""An exception raised at a step, inside Celery's or the app's own code.

step ── waits ── told to raise ──▶ module:Class, out of the function the step stands at
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from harness.model import Event, Evidence, Trigger, step
from harness.processes import alive, until
from harness.protocols import Firing, Stack

RAISES_WITHIN_S = 20.0
LAST_WORDS_S = 0.05
"""What a process wrote before it ended is read by then."""


class Raises(Struct, frozen=True):
    """Raises ``error`` (``module:Class``, made from one message) at ``when``."""

    kind: ClassVar[str] = "raises"
    kills: ClassVar[bool] = False
    needs_link: ClassVar[bool] = False
    holds: ClassVar[bool] = True
    stills: ClassVar[bool] = False
    lasts_s: ClassVar[float] = 0.0
    target: ClassVar[str] = "code"
    error: str
    when: Trigger

    def fire(self, stack: Stack, at: Event) -> Firing:
        stack.release(at, self.error)
        yield from until(lambda: bool(stack.left(at)) or not alive(at.pid), RAISES_WITHIN_S)
        yield LAST_WORDS_S
        left = stack.left(at)
        raised = left == "raised"
        return Evidence(
            landed=raised,
            facts={"error": self.error, "pid": at.pid},
            why_not="" if raised else f"pid {at.pid} was not seen to raise it ({left or 'silent'})",
        )

    def heal(self, stack: Stack) -> None:
        """An exception that was raised is not taken back."""


def raises(error: str = "builtins:RuntimeError", *, when: Trigger) -> Raises:
    """Raise ``error`` at ``when``."""
    module, colon, name = error.partition(":")
    if not (module and colon and name):
        raise ValueError(f"raises takes module:Class, not {error!r}")
    return Raises(error=error, when=when)


EXAMPLES = (raises(when=step("effect_begin")),)

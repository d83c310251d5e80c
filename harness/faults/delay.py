"""A delay at a step: one process waits there for a while, everything else goes on.

step ──────── for_s ────────▶ goes on
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from harness.model import Event, Evidence, Trigger, step
from harness.processes import alive, until
from harness.protocols import Firing, Stack

LEAVES_WITHIN_S = 20.0


class Delay(Struct, frozen=True):
    """Keeps the process that came to ``when`` waiting for ``for_s`` seconds."""

    kind: ClassVar[str] = "delay"
    kills: ClassVar[bool] = False
    needs_link: ClassVar[bool] = False
    holds: ClassVar[bool] = True
    stills: ClassVar[bool] = False
    target: ClassVar[str] = "process"
    for_s: float
    when: Trigger

    @property
    def lasts_s(self) -> float:
        return self.for_s

    def fire(self, stack: Stack, at: Event) -> Firing:
        yield self.for_s
        early = stack.left(at)
        stack.release(at)
        yield from until(lambda: bool(stack.left(at)) or not alive(at.pid), LEAVES_WITHIN_S)
        landed = not early and bool(stack.left(at))
        return Evidence(
            landed=landed,
            facts={"for_s": self.for_s, "pid": at.pid},
            why_not="" if landed else f"pid {at.pid} did not wait there, or ended meanwhile",
        )

    def heal(self, stack: Stack) -> None:
        """The stage lets go whoever still waits."""


def delay(*, for_s: float, when: Trigger) -> Delay:
    """Hold up the process that comes to ``when`` for ``for_s`` seconds."""
    return Delay(for_s=for_s, when=when)


EXAMPLES = (delay(for_s=1.5, when=step("effect_begin")),)

"""A spot interruption: SIGTERM, a notice, then SIGKILL of everything.

    SIGTERM ──────── notice_s ────────▶ SIGKILL of the group
    (warm shutdown: takes nothing new, waits for what runs)

As an orchestrator does it: SIGTERM goes to the command alone (PID 1 of the container), the
kill takes the whole process tree. It has landed only if the worker was still there to be
killed: a worker that finished within the notice was not interrupted.
"""

from __future__ import annotations

import signal
import time
from typing import ClassVar

from msgspec import Struct

from harness.model import Event, Evidence, Trigger, step
from harness.processes import family, gone
from harness.protocols import Firing, Stack


class Spot(Struct, frozen=True):
    """Terminates the worker that came to ``when``, ``notice_s`` seconds after telling it."""

    kind: ClassVar[str] = "spot"
    kills: ClassVar[bool] = True
    holds: ClassVar[bool] = False
    stills: ClassVar[bool] = False
    needs_link: ClassVar[bool] = False
    target: ClassVar[str] = "worker"
    notice_s: float
    when: Trigger

    @property
    def lasts_s(self) -> float:
        return self.notice_s

    def fire(self, stack: Stack, at: Event) -> Firing:
        role = stack.role(at)
        worker = stack.worker(role)
        worker.signal(signal.SIGTERM)
        yield self.notice_s
        ended_early = worker.poll()
        if ended_early is not None:
            why = f"the worker ended within its notice of {self.notice_s:g} s ({ended_early})"
            return Evidence(landed=False, facts={"notice_s": self.notice_s}, why_not=why)
        victims = family(worker.pid)
        killed_mono_s = time.monotonic()
        worker.signal_group(signal.SIGKILL)
        left = yield from gone(victims)
        noticed = [
            event.data.get("how")
            for event in stack.history().of("worker_shutting_down")
            if event.role == role
        ]
        return Evidence(
            landed=not left,
            facts={
                "notice_s": self.notice_s,
                "shutdown": noticed[0] if noticed else "SIGTERM did not reach Celery",
                "victims": victims,
                "killed_mono_s": killed_mono_s,
                "exit": str(worker.poll()),
            },
            why_not=f"pids {left} outlived it" if left else "",
        )

    def heal(self, stack: Stack) -> None:
        """Nothing is left of it."""


def spot(*, notice_s: float, when: Trigger) -> Spot:
    """Give notice at ``when``, kill ``notice_s`` seconds later."""
    return Spot(notice_s=notice_s, when=when)


EXAMPLES = (spot(notice_s=0.5, when=step("started")),)

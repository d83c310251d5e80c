"""SIGSTOP for a while, then SIGCONT: a worker that hangs, is swapped out, or is paused.

    step ── SIGSTOP ──────── for_s ────────▶ SIGCONT
            (no heartbeat, no acknowledgement; every connection stays open)

The process that came to the step waits there until the targets are stopped.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

import psutil
from msgspec import Struct

from harness.model import Event, Evidence, Trigger, step
from harness.processes import alive, family
from harness.protocols import Firing, Stack

STOPS_WITHIN_S = 20.0


class Freeze(Struct, frozen=True):
    """Stops ``target`` (``child``, ``main`` or ``worker``) for ``for_s`` seconds."""

    kind: ClassVar[str] = "freeze"
    kills: ClassVar[bool] = False
    needs_link: ClassVar[bool] = False
    holds: ClassVar[bool] = True
    stills: ClassVar[bool] = False
    target: str
    for_s: float
    when: Trigger

    @property
    def lasts_s(self) -> float:
        return self.for_s

    def fire(self, stack: Stack, at: Event) -> Firing:
        role = stack.role(at)
        child = stack.child_pid(at)
        if self.target == "child" and child is None:
            why = f"no pool process has the message at {self.when.step}"
            return Evidence(landed=False, why_not=why)
        pids: list[int] = []
        try:
            deadline_s = time.monotonic() + STOPS_WITHIN_S
            # Again and again: as long as one of them runs, it may fork another.
            while moving := self._moving(stack, role, child):
                if time.monotonic() > deadline_s:
                    break
                pids += [pid for pid in moving if pid not in pids]
                _signal(moving, signal.SIGSTOP)
                yield 0.005
            stopped = [pid for pid in pids if _stopped(pid)]
            stack.release(at)  # one that is stopped itself goes on when it is continued
            yield self.for_s
            held = [pid for pid in stopped if _stopped(pid)]
        finally:
            # Whatever happens: the trial must not leave a stopped process to somebody's wait.
            _signal(pids, signal.SIGCONT)
        return Evidence(
            landed=bool(pids) and held == pids,
            facts={"stopped": pids, "for_s": self.for_s},
            why_not=_why_not(self.target, pids, held),
        )

    def _moving(self, stack: Stack, role: str, child: int | None) -> list[int]:
        """Those of its targets that run; one that has ended, and was not collected, does not."""
        match self.target:
            case "child":
                targets = [child] if child else []
            case "main":
                targets = [stack.main_pid(role)]
            case _:
                targets = family(stack.worker(role).pid)
        return [pid for pid in targets if alive(pid) and not _stopped(pid)]

    def heal(self, stack: Stack) -> None:
        """The firing continues what it stopped, even when it is broken off."""


def freeze(target: str, *, for_s: float, when: Trigger) -> Freeze:
    """Stop the ``child``, ``main`` process or whole ``worker`` at ``when`` for ``for_s`` s."""
    if target not in {"child", "main", "worker"}:
        raise ValueError(f"freeze takes child, main or worker, not {target!r}")
    return Freeze(target=target, for_s=for_s, when=when)


def _why_not(target: str, pids: Sequence[int], held: Sequence[int]) -> str:
    if not pids:
        return f"the {target} had ended, or was stopped already"
    return "" if held == pids else f"of {pids} only {held} were stopped all along"


def _signal(pids: Sequence[int], signum: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)


def _stopped(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


EXAMPLES = (
    freeze("worker", for_s=1.5, when=step("effect_begin")),
    freeze("main", for_s=1.5, when=step("received")),
    freeze("child", for_s=1.5, when=step("started")),
)

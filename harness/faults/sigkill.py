"""SIGKILL: a pool child, a worker's main process, or the whole worker, in the middle of a task.

    worker (process group) ─┬─ main ─┬─ child   ◀── "child": the one that runs the task
                            │        └─ child
                            └─ ...               "main": main alone; "worker": all of it

On Linux the children of a killed main process die too (parent-death signal, set by
billiard), so "main" and "worker" differ elsewhere, and for workers behind a shell.
"""

from __future__ import annotations

import os
import signal
import time
from typing import ClassVar

from msgspec import Struct

from harness.model import Event, Evidence, Trigger
from harness.processes import family, gone
from harness.protocols import Firing, Stack


class Sigkill(Struct, frozen=True):
    """Kills ``target``: ``child``, ``main`` or ``worker``, of the worker that came to ``when``."""

    kind: ClassVar[str] = "sigkill"
    kills: ClassVar[bool] = True
    needs_link: ClassVar[bool] = False
    lasts_s: ClassVar[float] = 0.0
    target: str
    when: Trigger

    def fire(self, stack: Stack, at: Event) -> Firing:
        worker = stack.worker(at.role)
        main = stack.main_pid(at.role)
        doomed = {"child": [at.pid], "main": family(main), "worker": family(worker.pid)}
        victims = doomed[self.target]
        killed_mono_s = time.monotonic()
        if self.target == "worker":
            worker.signal_group(signal.SIGKILL)
        else:
            os.kill(victims[0], signal.SIGKILL)
        left = yield from gone(victims)
        ended = None if self.target == "child" else worker.poll()
        return Evidence(
            landed=bool(victims) and not left,
            facts={
                "victims": victims,
                "killed_mono_s": killed_mono_s,
                "signal": "SIGKILL",
                "exit": str(ended) if ended else None,
            },
            why_not=f"pids {left} outlived it" if left else "",
        )

    def heal(self, stack: Stack) -> None:
        """Nothing is left of it: a replacement worker is the scenario's affair."""


def sigkill(target: str, *, when: Trigger) -> Sigkill:
    """Kill the ``child``, ``main`` process or whole ``worker`` at ``when``."""
    if target not in {"child", "main", "worker"}:
        raise ValueError(f"sigkill takes child, main or worker, not {target!r}")
    return Sigkill(target=target, when=when)

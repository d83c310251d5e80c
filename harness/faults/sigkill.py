"""SIGKILL: a pool child, a worker's main process, or the whole worker, exactly at a step.

    worker (process group) ─┬─ main ─┬─ child   ◀── "child": the one that has the message
                            │        └─ child
                            └─ ...               "main": main alone; "worker": all of it

The process that came to the step waits there until the kill is done; and where it is main, the
pool process that has the message is stopped meanwhile, or comes to a step of its own (``until``)
and waits there as well. On
Linux the children of a killed main process die too (parent-death signal, set by billiard), so
"main" and "worker" differ elsewhere, and for workers behind a shell.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import ClassVar

from msgspec import Struct

from harness.model import Event, Evidence, Trigger, step
from harness.processes import alive, family, gone, until
from harness.protocols import Firing, Stack

MEETS_WITHIN_S = 20.0


class Sigkill(Struct, frozen=True):
    """Kills ``target``: ``child``, ``main`` or ``worker``, of the worker that came to ``when``."""

    kind: ClassVar[str] = "sigkill"
    kills: ClassVar[bool] = True
    holds: ClassVar[bool] = True
    stills: ClassVar[bool] = True
    needs_link: ClassVar[bool] = False
    lasts_s: ClassVar[float] = 0.0
    target: str
    when: Trigger
    until: str = ""

    def fire(self, stack: Stack, at: Event) -> Firing:
        if self.until:
            stack.meet(at, self.until)
            # It may have gone by before it was stopped.
            if not (yield from until(lambda: stack.met(at), MEETS_WITHIN_S)):
                return Evidence(landed=False, why_not=f"its message was not met at {self.until}")
        role = stack.role(at)
        worker = stack.worker(role)
        child = stack.child_pid(at)
        if self.target == "child" and child is None:
            why = f"no pool process has the message at {self.when.step}"
            return Evidence(landed=False, why_not=why)
        main = family(stack.main_pid(role))
        doomed = {"child": [child or 0], "main": main, "worker": family(worker.pid)}
        victims = [pid for pid in doomed[self.target] if alive(pid)]
        # One that has ended, and was not collected yet, was not ended by us.
        if victims[:1] != doomed[self.target][:1] or not victims:
            return Evidence(landed=False, why_not=f"the {self.target} had ended already")
        killed_mono_s = time.monotonic()
        if self.target == "worker":
            worker.signal_group(signal.SIGKILL)
        else:
            os.kill(victims[0], signal.SIGKILL)
            # Where there is no parent-death signal, a child stopped at the step would stay so.
            for pid in victims[1:]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        left = yield from gone(victims)
        ended = None if self.target == "child" else worker.poll()
        return Evidence(
            landed=not left,
            facts={
                "victims": victims,
                "killed_mono_s": killed_mono_s,
                "signal": "SIGKILL",
                "exit": str(ended) if ended else None,
                # True: the one that waited at the step was killed while it waited.
                "died_at_the_step": at.pid in victims and not stack.left(at),
            },
            why_not=f"pids {left} outlived it" if left else "",
        )

    def heal(self, stack: Stack) -> None:
        """Nothing is left of it: a replacement worker is the scenario's affair."""


def sigkill(target: str, *, when: Trigger, until: str = "") -> Sigkill:
    """Kill the ``child``, ``main`` process or whole ``worker`` at ``when``. With ``until``, a step
    of the pool process: when that has come there with the same message, and both wait."""
    if target not in {"child", "main", "worker"}:
        raise ValueError(f"sigkill takes child, main or worker, not {target!r}")
    return Sigkill(target=target, when=when, until=until)


EXAMPLES = (
    sigkill("child", when=step("effect")),
    sigkill("main", when=step("started")),
    sigkill("worker", when=step("received")),
    sigkill("main", when=step("accepted"), until="effect_begin"),
)

"""An orderly shutdown: the worker is told to end, and is left alone until it has.

    SIGTERM   warm: takes nothing new, waits for what runs, however long
    SIGQUIT   cold: ends what runs; with ``worker_soft_shutdown_timeout``, after that time
    SIGINT    warm, a second one cold

It is what every deployment does to every worker, so what it costs is worth knowing. Which of them
Celery took (``REMAP_SIGTERM=SIGQUIT`` makes SIGTERM a cold one) is in the evidence. It has landed
when Celery took note and the worker ended by itself. Source: ``celery.apps.worker``.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import ClassVar

from msgspec import Struct

from harness.history import History
from harness.model import Event, Evidence, Trigger, step
from harness.naming import known
from harness.protocols import Firing, Process, Stack

SIGNALS = ("SIGTERM", "SIGQUIT", "SIGINT")
LOOK_S = 0.05


class Shutdown(Struct, frozen=True, kw_only=True):
    """Tells the worker that came to ``when`` to end, ``after_s`` seconds later, by these signals,
    ``every_s`` apart; and waits for it, ``within_s`` at most."""

    kind: ClassVar[str] = "shutdown"
    kills: ClassVar[bool] = False
    holds: ClassVar[bool] = False
    stills: ClassVar[bool] = False
    needs_link: ClassVar[bool] = False
    target: ClassVar[str] = "worker"
    signals: tuple[str, ...]
    after_s: float
    every_s: float
    within_s: float
    when: Trigger

    @property
    def lasts_s(self) -> float:
        """By its plan: what it then waits for are tasks, and they are counted as such."""
        return self.after_s + self.every_s * (len(self.signals) - 1)

    def fire(self, stack: Stack, at: Event) -> Firing:
        if self.after_s:
            yield self.after_s
        role = stack.role(at)
        worker = stack.worker(role)
        told_mono_s = time.monotonic()
        sent = []
        for number, name in enumerate(self.signals):
            if number:
                yield from _until(worker, told_mono_s + number * self.every_s)
            if worker.poll() is None:
                worker.signal(signal.Signals[name])
                sent.append(name)
        yield from _until(worker, told_mono_s + self.within_s)
        took_s = round(time.monotonic() - told_mono_s, 3)
        ended = worker.poll()
        yield LOOK_S  # its last events are read before they are asked for
        taken = _taken(stack.history(), role)
        why_not = "" if taken else f"{' and '.join(sent) or 'no signal'} did not reach Celery"
        if ended is None:
            why_not = f"the worker had not ended {self.within_s:g} s after it was told to"
        return Evidence(
            landed=not why_not,
            facts={
                "signals": sent,
                "shutdown": taken or None,
                "told_role": role,
                "told_mono_s": told_mono_s,
                "took_s": took_s,
                "exit": str(ended) if ended else None,
            },
            why_not=why_not,
        )

    def heal(self, stack: Stack) -> None:
        """Nothing is left of it: a replacement worker is the scenario's affair."""


def _taken(history: History, role: str) -> str:
    """Which shutdown Celery took; empty: none. A second signal may have made a warm one cold, and
    one whose handler failed is not announced (on a threads pool SIGQUIT's does, Celery 5.7)."""
    announced = [e for e in history.of("worker_shutting_down") if e.role == role]
    if announced:
        return str(announced[-1].data.get("how"))
    begun = [e for e in history.of("worker_stopping") if e.role == role]
    if not begun:
        return ""
    return "Warm, unannounced" if begun[-1].data.get("how") == "stop" else "Cold, unannounced"


def _until(worker: Process, mono_s: float) -> Iterator[float]:
    """Wait until then, or until the worker has ended."""
    while worker.poll() is None and time.monotonic() < mono_s:
        yield LOOK_S


def shutdown(
    *signals: str,
    when: Trigger,
    after_s: float = 0.0,
    every_s: float = 0.5,
    within_s: float = 60.0,
) -> Shutdown:
    """Tell the worker to end at ``when``, or ``after_s`` seconds later: by SIGTERM, or by
    ``signals``, ``every_s`` seconds apart. It has not landed if the worker has not ended
    ``within_s`` seconds after the first. Raises UsageError for another signal."""
    for name in signals:
        known(name, SIGNALS, "signal")
    return Shutdown(
        signals=signals or ("SIGTERM",),
        after_s=after_s,
        every_s=every_s,
        within_s=within_s,
        when=when,
    )


EXAMPLES = (
    shutdown(when=step("started"), after_s=0.1),
    shutdown("SIGQUIT", when=step("started"), after_s=0.1),
    shutdown("SIGINT", "SIGINT", when=step("started"), after_s=0.1, every_s=0.2),
)

"""What the operating system says about processes, seen from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence

import psutil

POLL_S = 0.005
GONE_WITHIN_S = 20.0
"""A killed process is gone within milliseconds; on a loaded machine, a little later."""


def alive(pid: int) -> bool:
    """Whether the process still runs; a zombie has ended."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> list[int]:
    """The process and all its descendants, as they are now; empty when it has ended."""
    try:
        leader = psutil.Process(pid)
        return [pid, *(child.pid for child in leader.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def until(done: Callable[[], bool], within_s: float) -> Generator[float, None, bool]:
    """Wait, as a fault waits, until ``done()``; false when the time ran out first."""
    deadline_s = time.monotonic() + within_s
    while not (over := done()) and time.monotonic() < deadline_s:
        yield POLL_S
    return over


def gone(pids: Sequence[int]) -> Generator[float, None, list[int]]:
    """Wait, as a fault waits, until these have ended; gives those that have not in time."""
    yield from until(lambda: not any(map(alive, pids)), GONE_WITHIN_S)
    return [pid for pid in pids if alive(pid)]

"""What the operating system says about processes, seen from outside."""

from __future__ import annotations

import psutil


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

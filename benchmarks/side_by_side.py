"""Two ways of doing a thing, in turn, and the ratio of each pair."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable


def timed(action: Callable[[], object]) -> float:
    """Seconds of wall time it takes."""
    began_s = time.monotonic()
    action()
    return time.monotonic() - began_s


def compare(
    first: str, second: str, pairs: int, one: Callable[[], float], other: Callable[[], float]
) -> None:
    """Run the two in turn ``pairs`` times, after one of each that is not counted; print the
    medians (each function gives its own seconds) and the ratio second / first."""
    one(), other()
    taken = [(one(), other()) for _ in range(pairs)]
    ratios = sorted(b / a for a, b in taken)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine}, {pairs} pairs")
    print(f"  {first}: median {statistics.median(a for a, _ in taken):.2f} s")
    print(f"  {second}: median {statistics.median(b for _, b in taken):.2f} s")
    print(
        f"  {second} / {first}: median {statistics.median(ratios):.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )

"""How often something happened, and between which bounds its true rate lies.

Wilson's interval inside (Wilson 1927; Brown, Cai and DasGupta 2001 recommend it for small n);
at no or all of n the exact one (Clopper and Pearson 1934), which has a closed form there:
``1 - (alpha / 2) ** (1 / n)``. So zero losses in 100 tries still allow for 3.6 %.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from msgspec import Struct

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2
_Z = NormalDist().inv_cdf(1 - _TAIL)


class Rate(Struct, frozen=True):
    """``times`` of ``tries``. Raises ValueError unless 0 <= times <= tries."""

    times: int
    tries: int

    def __post_init__(self) -> None:
        if not 0 <= self.times <= self.tries:
            raise ValueError(f"{self.times} of {self.tries} is no rate")

    @property
    def share(self) -> float | None:
        """None without a try."""
        return self.times / self.tries if self.tries else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval; of no tries, everything is possible."""
        return _interval(self.times, self.tries)

    def overlaps(self, other: Rate) -> bool:
        """Whether one true rate could have given both."""
        low, high = self.interval
        other_low, other_high = other.interval
        return low <= other_high and other_low <= high

    def __str__(self) -> str:
        if not self.tries:
            return "\N{EN DASH}"
        low, high = self.interval
        bounds = f"{100 * low:.0f}\N{EN DASH}{100 * high:.0f}\N{NO-BREAK SPACE}%"
        return f"{self.times}/{self.tries} ({bounds})"


def _interval(times: float, n: float) -> tuple[float, float]:
    if n == 0:
        return 0.0, 1.0
    edge = 1 - _TAIL ** (1 / n)
    if times == 0:
        return 0.0, edge
    if times == n:
        return 1 - edge, 1.0
    p = times / n
    return _wilson(p, n)


def _wilson(p: float, n: float) -> tuple[float, float]:
    centre = p + _Z**2 / (2 * n)
    margin = _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    scale = 1 + _Z**2 / n
    return (centre - margin) / scale, (centre + margin) / scale

"""Tries: what became of the messages that faults hit, counted over trials that are alike.

A try is one message that a fault hit in the state that the fault is about. A fault that hit
nothing is no try; that is why the number of tries stands beside every rate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from harness.model import Fate
from harness.rates import Rate
from harness.record import FaultRecord


class Tries(Struct, frozen=True):
    """The faults of some trials, and the fates of the messages that they hit."""

    planned: int
    fates: Mapping[Fate, int]

    @property
    def hits(self) -> int:
        return sum(self.fates.values())

    @property
    def known(self) -> int:
        """Tries of which the end is known."""
        return self.hits - self.fates.get(Fate.UNKNOWN, 0)

    @property
    def seen(self) -> tuple[Fate, ...]:
        """The ends that came about, in their order."""
        return tuple(fate for fate in Fate if fate is not Fate.UNKNOWN and self.fates.get(fate))

    def rate(self, fate: Fate) -> Rate:
        """How often, of the tries of which the end is known."""
        return Rate(self.fates.get(fate, 0), self.known)


def of_faults(faults: Iterable[FaultRecord]) -> Tries:
    """Counted over these faults; what an older record hit has no fate, and is unknown."""
    every = list(faults)
    fates = Counter(
        Fate(told) if (told := str(hit.get("fate"))) in set(Fate) else Fate.UNKNOWN
        for fault in every
        if fault.landed
        for hit in fault.hit
    )
    return Tries(len(every), fates)

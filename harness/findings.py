"""What a check found, thing by thing: what is proved broken, and what cannot be told."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from harness.model import Outcome, Verdict

SHOWN = 3
OPAQUE = "opaque:"
"""Opens the digest of a value that cannot be compared (``probe/ackproof_probe/digests.py``)."""


class Findings(Struct, frozen=True):
    """Reasons, one a thing (a chord, a task, a result)."""

    broken: list[str] = []
    unknown: list[str] = []

    def verdict(self) -> Verdict:
        """``broken`` dominates; ``unknown`` never passes."""
        if self.broken:
            return Verdict(Outcome.BROKEN, _some(self.broken))
        if self.unknown:
            return Verdict(Outcome.UNKNOWN, _some(list(dict.fromkeys(self.unknown))))
        return Verdict(Outcome.HOLDS)


def _some(reasons: Sequence[str]) -> tuple[str, ...]:
    more = len(reasons) - SHOWN
    return (*reasons[:SHOWN], *([f"and {more} more"] if more > 0 else ()))

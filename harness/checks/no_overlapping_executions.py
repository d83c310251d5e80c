"""No message runs twice at the same time: what even an idempotent task rarely survives."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from harness import counting
from harness.history import History
from harness.model import Outcome, Verdict
from harness.telling import tell_some


class NoOverlappingExecutions(Struct, frozen=True):
    """Broken by a message of which two runs were going at once. Unknown when the history has
    gaps, or when a message that still runs is held by the broker as well."""

    about: ClassVar[frozenset[str]] = frozenset({"overlapping_executions"})

    def judge(self, history: History) -> Verdict:
        both = counting.overlapping(history)
        if both:
            why = f"{len(both)} ran twice at the same time: {tell_some(history, both)}"
            return Verdict(Outcome.BROKEN, (why,))
        gaps = counting.gaps(history)
        if gaps:
            return Verdict(Outcome.UNKNOWN, tuple(gaps))
        going = {run.message for run in history.executions if run.open}
        coming = going.intersection(counting.would_run_again(history))
        if coming:
            why = f"{len(coming)} still ran, and would be delivered again"
            return Verdict(Outcome.UNKNOWN, (why,))
        return Verdict(Outcome.HOLDS)

    def __str__(self) -> str:
        return "no overlapping executions"


def no_overlapping_executions() -> NoOverlappingExecutions:
    """Nothing runs twice at the same time."""
    return NoOverlappingExecutions()

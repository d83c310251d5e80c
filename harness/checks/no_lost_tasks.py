"""Every confirmed message is completed, or somebody still holds it."""

from __future__ import annotations

from msgspec import Struct

from harness import counting
from harness.history import History
from harness.model import Outcome, Verdict
from harness.telling import tell_some


class NoLostTasks(Struct, frozen=True):
    """Broken by the first lost message. Unknown when a message of indeterminate publish was
    never completed, which may never have been sent; and when the history has gaps."""

    def judge(self, history: History) -> Verdict:
        gone = counting.lost(history)
        if gone:
            return Verdict(Outcome.BROKEN, (f"{len(gone)} lost: {tell_some(history, gone)}",))
        gaps = counting.gaps(history)
        if gaps:
            return Verdict(Outcome.UNKNOWN, tuple(gaps))
        unclear = counting.unaccounted(history, "indeterminate")
        if unclear:
            told = tell_some(history, unclear)
            why = f"{len(unclear)} of indeterminate publish were never completed: {told}"
            return Verdict(Outcome.UNKNOWN, (why,))
        return Verdict(Outcome.HOLDS)

    def __str__(self) -> str:
        return "no lost tasks"


def no_lost_tasks() -> NoLostTasks:
    """Nothing is lost."""
    return NoLostTasks()

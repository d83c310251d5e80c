"""At most so many messages have their body started more than once."""

from __future__ import annotations

from msgspec import Struct

from harness import counting
from harness.history import History
from harness.model import Outcome, Verdict
from harness.telling import tell_some


class DuplicateExecutionsAtMost(Struct, frozen=True):
    """Broken above ``limit``; unknown when messages that the broker still holds would
    take it above, or when the history has gaps."""

    limit: int

    def judge(self, history: History) -> Verdict:
        doubled = counting.duplicates(history)
        if len(doubled) > self.limit:
            why = f"{len(doubled)} ran more than once: {tell_some(history, doubled)}"
            return Verdict(Outcome.BROKEN, (why,))
        gaps = counting.gaps(history)
        if gaps:
            return Verdict(Outcome.UNKNOWN, tuple(gaps))
        coming = set(counting.would_run_again(history)) - set(doubled)
        if len(doubled) + len(coming) > self.limit:
            why = f"{len(coming)} that ran are still held by the broker and would run again"
            return Verdict(Outcome.UNKNOWN, (why,))
        return Verdict(Outcome.HOLDS)

    def __str__(self) -> str:
        return f"duplicate executions at most {self.limit}"


def duplicate_executions_at_most(limit: int) -> DuplicateExecutionsAtMost:
    """At most ``limit`` messages run more than once."""
    return DuplicateExecutionsAtMost(limit)

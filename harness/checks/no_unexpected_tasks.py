"""Nothing runs that nobody published."""

from __future__ import annotations

from msgspec import Struct

from harness import counting
from harness.history import History
from harness.model import Outcome, Verdict
from harness.telling import tell_some


class NoUnexpectedTasks(Struct, frozen=True):
    """Broken by an execution without a publish: a foreign message. Unknown when a probe
    could not write some of its events: the publish may be among them."""

    def judge(self, history: History) -> Verdict:
        strangers = counting.unexpected(history)
        missed = counting.missed_events(history)
        if missed:
            return Verdict(Outcome.UNKNOWN, tuple(missed))
        if strangers:
            why = f"{len(strangers)} ran that nobody published: {tell_some(history, strangers)}"
            return Verdict(Outcome.BROKEN, (why,))
        return Verdict(Outcome.HOLDS)

    def __str__(self) -> str:
        return "no unexpected tasks"


def no_unexpected_tasks() -> NoUnexpectedTasks:
    """Nothing runs that nobody published."""
    return NoUnexpectedTasks()

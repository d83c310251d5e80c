"""No message is left waiting in a place from which it does not come back in time."""

from __future__ import annotations

from msgspec import Struct

from harness import counting
from harness.history import History
from harness.model import Held, Outcome, Verdict


class NoStrandedTasks(Struct, frozen=True):
    """Broken by a message that is held, not completed, and not back when the trial ends.
    Unknown when the trial was cut short of that, or the history has gaps."""

    def judge(self, history: History) -> Verdict:
        left = counting.stranded(history)
        gaps = counting.gaps(history)
        open_yet = counting.cut_short(history) + counting.missed_events(history)
        open_yet += counting.contradictions(history)
        if open_yet or (gaps and not left):
            return Verdict(Outcome.UNKNOWN, tuple(open_yet or gaps))
        if not left:
            return Verdict(Outcome.HOLDS)
        latest = max(left.values(), key=lambda one: one.back_at_s or 0.0)
        told = f"{len(left)} stranded: {_where(history, latest)}"
        drained = history.last("drain_ended")
        if drained is not None and drained.data.get("loops"):
            told += f"; {drained.data['why']}"
        return Verdict(Outcome.BROKEN, (told,))

    def __str__(self) -> str:
        return "no stranded tasks"


def _where(history: History, held: Held) -> str:
    back_in_s = counting.back_in_s(history, held)
    back = (
        f"back within {back_in_s:.0f} s"
        if back_in_s is not None
        else "with no time set for its return"
    )
    why = f" ({held.why})" if held.why else ""
    return f"the last is {held.where}, {back}{why}"


def no_stranded_tasks() -> NoStrandedTasks:
    """Nothing is stranded."""
    return NoStrandedTasks()

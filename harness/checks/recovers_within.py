"""After the first fault, work goes on again within a time."""

from __future__ import annotations

from msgspec import Struct

from harness import counting
from harness.history import History
from harness.model import Outcome, Verdict


class RecoversWithin(Struct, frozen=True):
    """Broken when no task that started after the fault ended within ``s`` seconds of it,
    though there was one left to run."""

    s: float

    def judge(self, history: History) -> Verdict:
        fault = history.first("fault_fired")
        took_s = counting.recovery_s(history)
        if fault is None or (took_s is not None and took_s <= self.s):
            return Verdict(Outcome.HOLDS)
        missed = counting.missed_events(history)
        if missed:
            return Verdict(Outcome.UNKNOWN, tuple(missed))
        if took_s is not None:
            return Verdict(Outcome.BROKEN, (f"recovered after {took_s:.1f} s, not {self.s:g} s",))
        cut_short = counting.cut_short(history)
        if cut_short and history.end_s - fault.mono_s < self.s:
            return Verdict(Outcome.UNKNOWN, tuple(cut_short))
        if counting.stranded(history):
            return Verdict(Outcome.BROKEN, ("nothing was completed after the fault",))
        return Verdict(Outcome.UNKNOWN, ("nothing was left to run after the fault",))

    def __str__(self) -> str:
        return f"recovers within {self.s:g} s"


def recovers_within(s: float) -> RecoversWithin:
    """Work goes on within ``s`` seconds of the first fault."""
    return RecoversWithin(s)

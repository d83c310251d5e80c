"""No message has its effect applied twice: the doubled charge, not harmless re-execution."""

from __future__ import annotations

from msgspec import Struct

from harness import counting
from harness.history import History
from harness.model import Outcome, Verdict
from harness.telling import tell_some


class NoDuplicateEffects(Struct, frozen=True):
    """Unknown when the workload declares no way to read its effects, when a message whose
    effect was applied would run again, or when the history has gaps."""

    def judge(self, history: History) -> Verdict:
        doubled = counting.doubled_effects(history)
        if doubled is None:
            failed = history.first("effects_failed")
            why = failed.data.get("why") if failed else "the workload declares no `effects` command"
            why = f"effects were not read: {why}"
            return Verdict(Outcome.UNKNOWN, (why,))
        if doubled:
            why = f"{len(doubled)} effects applied twice: {tell_some(history, doubled)}"
            return Verdict(Outcome.BROKEN, (why,))
        gaps = counting.gaps(history)
        if gaps:
            return Verdict(Outcome.UNKNOWN, tuple(gaps))
        applied = {event.message for event in history.of("effect_applied")}
        coming = applied.intersection(counting.would_run_again(history))
        if coming:
            why = f"{len(coming)} whose effect was applied are still held and would run again"
            return Verdict(Outcome.UNKNOWN, (why,))
        return Verdict(Outcome.HOLDS)

    def __str__(self) -> str:
        return "no duplicate effects"


def no_duplicate_effects() -> NoDuplicateEffects:
    """No effect is applied twice."""
    return NoDuplicateEffects()

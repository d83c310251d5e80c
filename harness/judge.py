"""Step 9: from a history to counts and a verdict. Pure, offline, repeatable.

First the trial itself is questioned: a baseline not met, a fault that did not land or hit
nothing, a broker that died by itself, a message nobody could name. Each makes the trial
``unknown``, unless a check is broken all the same. Then each check is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from harness import counting, landing
from harness.history import History
from harness.model import Counts, Held, Outcome, Verdict
from harness.protocols import Check
from harness.record import FaultRecord, StrandedMessage, Timings


class Judgement(Struct, frozen=True):
    """All that follows from a history."""

    verdict: Verdict
    counts: Counts
    timings: Timings
    faults: tuple[FaultRecord, ...]
    stranded: tuple[StrandedMessage, ...]
    horizon: tuple[str, ...]


def judge(history: History, checks: Sequence[Check]) -> Judgement:
    """Count, question the trial, ask the checks; ``broken`` dominates ``unknown``."""
    faults = landing.fault_records(history)
    doubts = [*_doubts(history), *landing.in_doubt(faults)]
    verdicts = [check.judge(history) for check in checks]
    return Judgement(
        verdict=_dominant([*verdicts, *(Verdict(Outcome.UNKNOWN, (why,)) for why in doubts)]),
        counts=counting.count(history),
        timings=counting.timings(history),
        faults=tuple(faults),
        stranded=tuple(_stranded(history)),
        horizon=_derivation(history),
    )


def _dominant(verdicts: Iterable[Verdict]) -> Verdict:
    by_outcome: dict[Outcome, list[str]] = {outcome: [] for outcome in Outcome}
    for verdict in verdicts:
        by_outcome[verdict.outcome] += verdict.reasons or [verdict.outcome.value]
    broken, unknown = by_outcome[Outcome.BROKEN], by_outcome[Outcome.UNKNOWN]
    if broken:
        return Verdict(Outcome.BROKEN, _once(broken + unknown))
    if unknown:
        return Verdict(Outcome.UNKNOWN, _once(unknown))
    return Verdict(Outcome.HOLDS)


def _once(reasons: Iterable[str]) -> tuple[str, ...]:
    """The trial and a check may doubt for the same reason."""
    return tuple(dict.fromkeys(reasons))


def _doubts(history: History) -> list[str]:
    """Why the trial as a whole may not be believed."""
    doubts = [str(event.data["why"]) for event in history.of("trial_error")]
    doubts += counting.unwatched(history)
    if history.first("baseline_met") is None and not doubts:
        doubts.append("baseline not met: no worker completed its marker task")
    if history.first("baseline_met") is not None:
        doubts += _doubts_about_the_end(history)
    return doubts


def _doubts_about_the_end(history: History) -> list[str]:
    doubts = counting.cut_short(history)
    if history.last("drain_ended") is None:
        return doubts
    doubts += counting.gaps(history)
    if not counting.attempted(history):
        doubts.append("the producer published nothing")
    return doubts


def _stranded(history: History) -> list[StrandedMessage]:
    return [_stranded_message(history, one) for one in counting.stranded(history).values()]


def _stranded_message(history: History, one: Held) -> StrandedMessage:
    back_in_s = counting.back_in_s(history, one)
    return StrandedMessage(
        task_id=one.task_id,
        retries=one.retries,
        where=one.where,
        back_in_s=None if back_in_s is None else round(back_in_s, 1),
        why=one.why,
    )


def _derivation(history: History) -> tuple[str, ...]:
    horizon = history.last("horizon")
    lines = horizon.data.get("derivation") if horizon else None
    return tuple(str(line) for line in lines) if isinstance(lines, list) else ()

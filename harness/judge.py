"""Step 9: from a history to counts and a verdict. Pure, offline, repeatable.

First the trial itself is questioned: a baseline not met, a fault that did not land or hit
nothing, a broker that died by itself, a message nobody could name. Each makes the trial
``unknown``, unless a check is broken all the same. Then each check is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from harness import counting
from harness.history import Execution, History
from harness.model import Counts, Event, Held, Outcome, Verdict
from harness.protocols import Check
from harness.record import FaultRecord, StrandedMessage, Timings

DEATHS_DATED_BACK_S = 5.0
"""A death that was noticed by polling is dated back to the last look, which may have been
before the kill. No system uses a pid again as soon as this."""


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
    faults = fault_records(history)
    doubts = [*_doubts(history), *_faults_in_doubt(faults)]
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
    doubts += [
        f"the probe of {event.role} could not watch {event.data.get('where')}: "
        f"{event.data.get('error')}"
        for event in history.of("probe_failed")
    ]
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


def _faults_in_doubt(faults: Iterable[FaultRecord]) -> list[str]:
    """A trial whose fault never fired, never landed or hit nothing proves nothing."""
    doubts = []
    for fault in faults:
        name = f"{fault.kind} on {fault.target}"
        if fault.fired_at_s is None:
            doubts.append(f"{name} never fired: its trigger {fault.trigger} did not come")
        elif not fault.landed:
            doubts.append(f"{name} did not land: {fault.evidence.get('why_not') or 'no evidence'}")
        elif not fault.hit:
            doubts.append(f"{name} hit no message in the middle of its task")
    return doubts


def fault_records(history: History) -> list[FaultRecord]:
    """Each planned fault with its evidence, and the messages it hit."""
    fired = {event.data["index"]: event for event in history.of("fault_fired")}
    done = {event.data["index"]: event for event in history.of("fault_done")}
    return [
        _fault_record(history, plan, fired.get(plan.data["index"]), done.get(plan.data["index"]))
        for plan in history.of("fault_planned")
    ]


def _fault_record(
    history: History, plan: Event, fired: Event | None, done: Event | None
) -> FaultRecord:
    evidence = dict(_facts(done)) if done else {}
    if done and done.data.get("why_not"):
        evidence["why_not"] = done.data["why_not"]
    return FaultRecord(
        kind=str(plan.data["kind"]),
        target=str(plan.data["target"]),
        trigger=str(plan.data["trigger"]),
        fired_at_s=round(fired.mono_s - history.start_s, 3) if fired else None,
        landed=bool(done and done.data.get("landed")),
        evidence=evidence,
        hit=_hit(history, plan, fired, done) if fired and done else [],
    )


def _facts(done: Event) -> dict[str, object]:
    facts = done.data.get("facts")
    return facts if isinstance(facts, dict) else {}


def _hit(history: History, plan: Event, fired: Event, done: Event) -> list[dict[str, object]]:
    """The messages in the state the fault is about: the one that waited at its step, a body cut
    off by it (a kill), or one that was running when it began (the network)."""
    held = [fired.message] if fired.data.get("held") else []
    if plan.data.get("kills"):
        victims = _facts(done).get("victims")
        pids = set(victims) if isinstance(victims, list) else set()
        runs = [r for r in history.executions if r.pid in pids and _cut_off_by(r, fired, done)]
        until_s = done.mono_s
    else:
        runs, until_s = history.going_at(fired.mono_s), fired.mono_s
    others = [(run.message, history.last_step(run, until_s)) for run in runs]
    found = [(message, str(fired.data.get("step"))) for message in held]
    found += [(message, last) for message, last in others if message not in held]
    return [
        {"task_id": message.task_id, "retries": message.retries, "step": last}
        for message, last in found
    ]


def _cut_off_by(run: Execution, fired: Event, done: Event) -> bool:
    """Whether a run in a victim's pid was cut off by this fault, and not earlier, when the
    pid was another process."""
    earliest_s = fired.mono_s - DEATHS_DATED_BACK_S
    return run.cut_off_s is not None and earliest_s <= run.cut_off_s <= done.mono_s


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

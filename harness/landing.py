"""What became of each planned fault: whether it fired and landed, and which messages it hit.

A fault that did not is no evidence, of nothing: the trial is ``unknown``. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness import counting
from harness.history import STEPS, Execution, History
from harness.model import Event, Fate, MessageId
from harness.record import FaultRecord

DEATHS_DATED_BACK_S = 5.0
"""A death that was noticed by polling is dated back to the last look, which may have been
before the kill. No system uses a pid again as soon as this."""


def untested(history: History) -> list[str]:
    """Why what its faults lead to cannot be told from this history; empty when it can."""
    return in_doubt(fault_records(history))


def in_doubt(faults: Iterable[FaultRecord]) -> list[str]:
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
    fates = counting.fates(history) if done else {}
    return [
        _fault_record(
            history, fates, plan, fired.get(plan.data["index"]), done.get(plan.data["index"])
        )
        for plan in history.of("fault_planned")
    ]


def _fault_record(
    history: History,
    fates: Mapping[MessageId, Fate],
    plan: Event,
    fired: Event | None,
    done: Event | None,
) -> FaultRecord:
    evidence = dict(_facts(done)) if done else {}
    if done and done.data.get("why_not"):
        evidence["why_not"] = done.data["why_not"]
    hit = _hit(history, plan, fired, done) if fired and done else []
    return FaultRecord(
        kind=str(plan.data["kind"]),
        target=str(plan.data["target"]),
        trigger=str(plan.data["trigger"]),
        fired_at_s=round(fired.mono_s - history.start_s, 3) if fired else None,
        landed=bool(done and done.data.get("landed")),
        evidence=evidence,
        hit=[
            {
                "task_id": message.task_id,
                "retries": message.retries,
                "step": last,
                "fate": fates.get(message, Fate.UNKNOWN).value,
            }
            for message, last in hit
        ],
    )


def _facts(done: Event) -> dict[str, object]:
    facts = done.data.get("facts")
    return facts if isinstance(facts, dict) else {}


def _hit(history: History, plan: Event, fired: Event, done: Event) -> list[tuple[MessageId, str]]:
    """The messages in the state the fault is about, and the last step of each: the one that waited
    at its step, a body cut off by it (a kill), what a worker that was told to end had in its hands,
    or a body that was running when it began (the network).
    """
    held = [fired.message] if fired.data.get("held") else []
    told_role, told_s = _facts(done).get("told_role"), _facts(done).get("told_mono_s")
    if isinstance(told_role, str) and isinstance(told_s, float):
        return list(_in_hand(history, told_role, told_s).items())
    if plan.data.get("kills"):
        victims = _facts(done).get("victims")
        pids = set(victims) if isinstance(victims, list) else set()
        runs = [r for r in history.executions if r.pid in pids and _cut_off_by(r, fired, done)]
        until_s = done.mono_s
    else:
        runs, until_s = history.going_at(fired.mono_s), fired.mono_s
    others = [(run.message, history.last_step(run, until_s)) for run in runs]
    found = [(message, str(fired.data.get("step"))) for message in held]
    return found + [(message, last) for message, last in others if message not in held]


def _in_hand(history: History, role: str, mono_s: float) -> dict[MessageId, str]:
    """What a worker ran at that moment, or had received and not settled; its last step there."""
    found = {
        run.message: history.last_step(run, mono_s)
        for run in history.going_at(mono_s)
        if run.role == role
    }
    received: dict[MessageId, str] = {}
    for event in history.of(*STEPS):
        if event.role != role or event.mono_s > mono_s:
            continue
        if event.kind == "received":
            received[event.message] = event.kind
        elif event.kind in {"acked", "rejected"}:
            received.pop(event.message, None)
        elif event.message in received:
            received[event.message] = event.kind
    return {**received, **found}


def _cut_off_by(run: Execution, fired: Event, done: Event) -> bool:
    """Whether a run in a victim's pid was cut off by this fault, and not earlier, when the
    pid was another process."""
    earliest_s = fired.mono_s - DEATHS_DATED_BACK_S
    return run.cut_off_s is not None and earliest_s <= run.cut_off_s <= done.mono_s

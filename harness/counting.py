"""What is counted: the table of DESIGN.md, as one pure function of a history.

A message is its task id and retry number. Lost, stranded, late and unknown are four
different things; calling a late task lost is the classic mistake of this field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from harness.history import Execution, History
from harness.model import BrokerView, Counts, Event, Fate, Held, MessageId
from harness.record import Timings


def attempted(history: History) -> dict[MessageId, str]:
    """Each message that was ever to be published, and what became of the publish:
    ``confirmed``, ``rejected`` or ``indeterminate``.

    An ``ok`` outweighs everything. A publish with ``info`` and one with no outcome (its
    process died) are indeterminate, because nobody can know; surely not sent is only a
    message of which every publish failed.
    """
    fate: dict[MessageId, str] = {}
    unsettled: Counter[MessageId] = Counter()
    for event in history.of("publish_invoke", "publish_info"):
        fate[event.message] = "indeterminate"
        unsettled[event.message] += 1
    for event in history.of("publish_fail"):
        unsettled[event.message] -= 1
        if unsettled[event.message] <= 0:
            fate[event.message] = "rejected"
    for event in history.of("publish_ok"):
        fate[event.message] = "confirmed"
    return fate


def completed(history: History) -> dict[MessageId, float]:
    """Each message with an execution that ran to its end: when the first one did."""
    ends: dict[MessageId, float] = {}
    for execution in history.executions:
        if execution.finished_s is not None:
            earlier = ends.get(execution.message, execution.finished_s)
            ends[execution.message] = min(earlier, execution.finished_s)
    return ends


def final_view(history: History) -> BrokerView | None:
    """What the broker held when all workers were gone; None when nobody looked.

    SQS does not name a message that it handed out and that no worker received. When as many
    messages are unnamed as are left at all, they are those.
    """
    seen = history.last("broker_final")
    if seen is None:
        return None
    view = msgspec.convert(seen.data["view"], BrokerView)
    return view if view.named else _named_by_elimination(history, view)


def _named_by_elimination(history: History, view: BrokerView) -> BrokerView:
    """With names for the rest, if everything not settled and not named must be the rest.
    What was rejected in order to be requeued is settled with the worker, not the broker."""
    known = {MessageId(one.task_id, one.retries) for one in view.held}
    known |= {e.message for e in history.of("acked", "rejected") if not e.data.get("requeue")}
    left = [m for m, fate in attempted(history).items() if m not in known and fate != "rejected"]
    if len(left) != view.total - len(view.held):
        return view
    horizon = history.last("horizon")
    wait_s = horizon.data["seconds"] if horizon else None
    back_at_s = view.at_s + wait_s if isinstance(wait_s, int | float) else None
    why = "handed out and never received: named because no other message is left"
    found = [Held(m.task_id, m.retries, "unacked", back_at_s, why) for m in left]
    return msgspec.structs.replace(view, held=(*view.held, *found), named=True)


def missed_events(history: History) -> list[str]:
    """Whose events are known to be incomplete: what the history does not show of them may
    have happened all the same."""
    told = [
        f"the probe of pid {pid} could not write some of its events"
        for pid in sorted({e.pid for e in history.events if "events_missed_before" in e.data})
    ]
    if not told and history.first("events_missed"):
        told = ["a probe could not write some of its events: the disk was full, or nearly"]
    return told + unwatched(history)


def unwatched(history: History) -> list[str]:
    """What a probe could not watch, in a Celery that it does not know."""
    return list(
        dict.fromkeys(
            f"the probe of {e.role} could not watch {e.data.get('where')}: {e.data.get('error')}"
            for e in history.of("probe_failed")
        )
    )


def unread_canvases(history: History) -> list[str]:
    """Which publishes did not say what belongs to them: a signature that the probe cannot read."""
    return [
        f"what belongs to {event.task_id[:8]} could not be read: {event.data['canvas_unread']}"
        for event in history.of("publish_invoke")
        if "canvas_unread" in event.data
    ]


def cut_short(history: History) -> list[str]:
    """Why waiting longer might have changed the answer."""
    drained = history.last("drain_ended")
    if drained is None:
        return ["the trial did not get to the end of its drain"]
    if not drained.data.get("settled"):
        return [f"the drain ended unsettled: {drained.data.get('why')}"]
    return []


def gaps(history: History) -> list[str]:
    """Why nothing is proved that rests on an absence, such as a loss."""
    found = missed_events(history)
    view = final_view(history)
    if view is None:
        found.append("the broker could not be asked what it holds")
    elif not view.named and view.total > len(view.held):
        found.append(
            f"the broker holds {view.ready} ready and {view.unacked} unacknowledged messages, "
            f"of which only {len(view.held)} could be named"
        )
    return found + contradictions(history)


def contradictions(history: History) -> list[str]:
    """What the broker is said to hold, and cannot be holding: a time of return that had passed
    when it was asked."""
    view = final_view(history)
    return [
        f"{one.task_id} was to be back {view.at_s - one.back_at_s:.0f} s before the broker was "
        f"asked, which still held it: {one.why}"
        for one in (view.held if view else ())
        if view is not None and one.back_at_s is not None and one.back_at_s < view.at_s
    ]


def back_in_s(history: History, one: Held) -> float | None:
    """How long after the broker was asked this message comes back, at the latest; None: nobody
    knows. Never negative: a time that had passed is one of the ``contradictions``."""
    view = final_view(history)
    if view is None or one.back_at_s is None or one.back_at_s < view.at_s:
        return None
    return one.back_at_s - view.at_s


def given_back(history: History) -> dict[MessageId, tuple[Event, float]]:
    """Messages that a worker put back to be out again so many seconds later (SQS), which nobody has
    received since."""
    found: dict[MessageId, tuple[Event, float]] = {}
    for event in history.of("received", "given_back"):
        in_s = event.data.get("back_in_s")
        if event.kind == "given_back" and isinstance(in_s, int | float):
            found[event.message] = (event, float(in_s))
        else:
            found.pop(event.message, None)
    return found


def held(history: History) -> dict[MessageId, Held]:
    """Each message that the broker or a live worker still held at the end of the drain.

    A run that lasted beyond the drain was ended by our own tidying up, not by a fault; so
    was one that began only then.
    """
    view = final_view(history)
    by_broker = {MessageId(one.task_id, one.retries): one for one in view.held} if view else {}
    by_worker = {
        run.message: Held(run.message.task_id, run.message.retries, "worker", None, "still running")
        for run in history.executions
        if run.end_s(float("inf")) > history.end_s
    }
    return {**_looping(history), **by_worker, **by_broker}


def _looping(history: History) -> dict[MessageId, Held]:
    """The message that was still being given out, again and again, when the drain ended: between
    two of its starts it may have been on its way, and our own tidying up lost it."""
    drained = history.last("drain_ended")
    told = drained.data.get("looping") if drained else None
    if not told:
        return {}
    message = MessageId(*msgspec.convert(told, tuple[str, int]))
    why = "still being given out, again and again"
    return {message: Held(message.task_id, message.retries, "worker", None, why)}


def lost(history: History) -> list[MessageId]:
    """Confirmed, never completed, and nobody holds it any more: provably nowhere."""
    return [] if gaps(history) else unaccounted(history, "confirmed")


def unaccounted(history: History, *fates: str) -> list[MessageId]:
    """Never completed, and not seen with anybody at the end."""
    kept = held(history)
    return [message for message in _incomplete(history, *fates) if message not in kept]


def stranded(history: History) -> dict[MessageId, Held]:
    """Not completed, while the broker or a live worker still holds it."""
    kept = held(history)
    open_ones = _incomplete(history, "confirmed", "indeterminate")
    return {message: kept[message] for message in open_ones if message in kept}


def redelivery_pending(history: History) -> dict[MessageId, Held]:
    """Completed, yet the broker holds it: it would run again."""
    done = completed(history)
    return {message: one for message, one in at_broker(history).items() if message in done}


def would_run_again(history: History) -> list[MessageId]:
    """Started once at least, completed or not, and the broker still holds it."""
    return [message for message in at_broker(history) if message in history.executions_of]


def duplicates(history: History) -> list[MessageId]:
    """Messages whose body started more than once."""
    return [message for message in history.executions_of if ran_again(history, message)]


def ran_again(history: History, message: MessageId) -> bool:
    """Whether a body of this message was started more often than it was meant to."""
    runs = len(history.executions_of.get(message, ()))
    return runs > 1 and runs > _incarnations(history, message)


def _incarnations(history: History, message: MessageId) -> int:
    """How many tasks ran under this id, one after another: ``Task.replace`` gives its own id to
    the task that takes its place."""
    published = [e for e in history.life(message) if e.kind == "publish_invoke"]
    return max(1, len({event.data.get("nesting", 0) for event in published}))


def lineages(history: History, *, sure: bool = False) -> dict[MessageId, int]:
    """Messages that were published more than once, and how often: each publish goes on by
    itself. A publish whose end nobody knows counts, unless they are to be ``sure``; one whose
    beginning was not written may be that of a task which took its place, and never does."""
    times: Counter[tuple[MessageId, object]] = Counter()
    nesting: dict[tuple[str, int, MessageId], object] = {}
    for event in history.of("publish_invoke", "publish_ok", "publish_fail"):
        process = (event.role, event.pid, event.message)
        if event.kind == "publish_invoke":
            nesting[process] = event.data.get("nesting")
        if process in nesting:
            times[event.message, nesting[process]] += _COUNTS_AS[event.kind][sure]
    most: dict[MessageId, int] = {}
    for (message, _), number in times.most_common():
        if number > 1:
            most.setdefault(message, number)
    return most


_COUNTS_AS = {"publish_invoke": (1, 0), "publish_ok": (0, 1), "publish_fail": (-1, 0)}
"""What an event adds to the publishes of its message: at most, and surely."""


def overlapping(history: History) -> list[MessageId]:
    """Of those, the ones of which two runs were going at the same time."""
    runs_of = history.executions_of
    return [message for message in duplicates(history) if _any_overlap(runs_of[message])]


def doubled_effects(history: History) -> list[MessageId] | None:
    """Messages whose effect was applied more than once; None when effects were not read."""
    if history.first("effects_read") is None:
        return None
    applied = Counter(event.message for event in history.of("effect_applied"))
    return [message for message, times in applied.items() if times > 1]


def late(history: History) -> list[MessageId]:
    """Completed, but only by redelivery, and later than the scenario allows; where it does
    not say, later than the redelivery horizon."""
    allowed_s = _allowed_s(history)
    if allowed_s is None:
        return []
    published: dict[MessageId, float] = {}
    for event in (*history.of("publish_ok"), *history.of("publish_invoke")):
        published.setdefault(event.message, event.mono_s)
    return [
        message
        for message, end_s in completed(history).items()
        if message in published
        and end_s - published[message] > allowed_s
        and _by_redelivery(history, _first_completion(history, message))
    ]


def unexpected(history: History) -> list[MessageId]:
    """Executed, though nobody was seen to publish it."""
    known = attempted(history)
    return [message for message in history.executions_of if message not in known]


def fates(history: History) -> dict[MessageId, Fate]:
    """What became of each message in the end. A message is in exactly one of these."""
    done, twice = completed(history), set(duplicates(history))
    waiting, nowhere = stranded(history), set(lost(history))
    pending = redelivery_pending(history)
    proved = not gaps(history) and not cut_short(history)

    def fate(message: MessageId) -> Fate:
        if message in done and message in twice:
            return Fate.DUPLICATE
        if not proved:
            return Fate.UNKNOWN
        if message in done:
            return Fate.PENDING if message in pending else Fate.ONCE
        if message in waiting:
            return Fate.STRANDED
        return Fate.LOST if message in nowhere else Fate.UNKNOWN

    return {message: fate(message) for message in attempted(history)}


def count(history: History) -> Counts:
    """All counts of the contract."""
    known = attempted(history)
    publishes = Counter(known.values())
    doubled = doubled_effects(history)
    return Counts(
        attempted=sum(publishes.values()),
        confirmed=publishes["confirmed"],
        rejected=publishes["rejected"],
        indeterminate=publishes["indeterminate"],
        completed=len(completed(history).keys() & known.keys()),
        lost=len(lost(history)),
        stranded=len(stranded(history)),
        late=len(late(history)),
        duplicate_executions=len(duplicates(history)),
        overlapping_executions=len(overlapping(history)),
        duplicate_effects=None if doubled is None else len(doubled),
        unexpected=len(unexpected(history)),
        redelivery_pending=len(redelivery_pending(history)),
    )


def timings(history: History) -> Timings:
    """What the faults cost in time."""
    horizon = history.last("horizon")
    horizon_s = horizon.data["seconds"] if horizon else None
    useful, wasted = _work(history)
    recovered_s = recovery_s(history)
    return Timings(
        recovery_s=None if recovered_s is None else round(recovered_s, 3),
        horizon_s=float(horizon_s) if isinstance(horizon_s, int | float) else None,
        useful_work_s=round(useful, 3),
        wasted_work_s=round(wasted, 3),
        trial_s=round(history.events[-1].mono_s - history.events[0].mono_s, 3)
        if history.events
        else 0.0,
    )


def recovery_s(history: History) -> float | None:
    """From the first fault to the first completion of a task that started after it."""
    fault = history.first("fault_fired")
    if fault is None:
        return None
    ends = [
        run.finished_s
        for run in history.executions
        if run.started_s > fault.mono_s and run.finished_s is not None
    ]
    return min(ends) - fault.mono_s if ends else None


def _incomplete(history: History, *fates: str) -> list[MessageId]:
    done = completed(history)
    return [m for m, fate in attempted(history).items() if fate in fates and m not in done]


def _any_overlap(runs: Iterable[Execution]) -> bool:
    latest_end_s = float("-inf")
    for run in sorted(runs, key=lambda one: one.started_s):
        if run.started_s < latest_end_s:
            return True
        latest_end_s = max(latest_end_s, run.end_s(float("inf")))
    return False


def at_broker(history: History) -> dict[MessageId, Held]:
    return {message: one for message, one in held(history).items() if one.where != "worker"}


def _allowed_s(history: History) -> float | None:
    """How long after its publish a message may be completed by redelivery."""
    plan, horizon = history.first("trial"), history.last("horizon")
    for source, name in ((plan, "late_after_s"), (horizon, "seconds")):
        value = source.data.get(name) if source else None
        if isinstance(value, int | float):
            return float(value)
    return None


def _first_completion(history: History, message: MessageId) -> Execution:
    ended = [run for run in history.executions_of[message] if run.finished_s is not None]
    return min(ended, key=lambda run: run.finished_s or 0.0)


def _by_redelivery(history: History, run: Execution) -> bool:
    """Whether the run came of another delivery than the message's first.

    A worker's nth run of a message belongs to the nth time it received it. When it dies or
    loses its connection, it forgets what it had not begun; what comes then is redelivered.
    """
    began_s = _last_break_s(history, run)
    received = [e for e in history.life(run.message) if e.kind == "received"]
    mine = [e for e in received if e.role == run.role and e.mono_s <= run.started_s]
    fresh = [event for event in mine if event.mono_s > began_s] or mine[-1:]
    nth = [one for one in history.runs_of[run.message] if one.role == run.role].index(run)
    if nth >= len(fresh):  # its receipt was not written: only an earlier run shows it
        return history.runs_of[run.message][0] is not run
    return fresh[nth] is not received[0] or bool(fresh[nth].data.get("redelivered"))


def _last_break_s(history: History, run: Execution) -> float:
    """When the run's worker last forgot what it had received, before the run began."""
    breaks = [
        event.mono_s
        for event in history.of("connection_lost", "process_exited")
        if event.mono_s < run.started_s
        and (
            event.role == run.role
            or (event.data.get("name") == run.role and event.data.get("leader"))
        )
    ]
    return max(breaks, default=float("-inf"))


def _work(history: History) -> tuple[float, float]:
    """Seconds inside executions: useful is the first of each message that ended."""
    useful = wasted = 0.0
    for message, runs in history.runs_of.items():
        ended = any(run.finished_s is not None for run in runs)
        first = _first_completion(history, message) if ended else None
        for run in runs:
            spent_s = max(0.0, run.end_s(history.end_s) - run.started_s)
            if run is first:
                useful += spent_s
            else:
                wasted += spent_s
    return useful, wasted

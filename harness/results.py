"""Results: whether the result backend gives what each task came to. Pure: from the history.

The harness reads them after the drain (``reading.py``), with the app's own backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness import counting
from harness.findings import OPAQUE, Findings
from harness.history import History
from harness.model import Event, Outcome
from harness.telling import tell

SUCCESS, FAILURE = "SUCCESS", "FAILURE"
_TRIES = ("publish_invoke", "started", "returned", "raised")


def states(history: History) -> Mapping[str, str]:
    """The state of each task's result as it was read; empty where it could not be."""
    return {event.task_id: str(event.data.get("state")) for event in history.of("result_read")}


def not_read(history: History) -> str:
    """Why not every result was read; empty when all were."""
    if history.first("results_read") is None:
        tried = history.last("results_not_read")
        why = tried.data["why"] if tried else "the trial did not come to it"
        return f"results were not read: {why}"
    for event in history.of("result_read"):
        if event.data.get("error"):
            return f"the result of {event.task_id[:8]} could not be read: {event.data['error']}"
    return ""


def asked_for(history: History) -> list[str]:
    """The tasks whose results are worth reading: all but Celery's own, and those that a chord or
    a chain has announced, published or not."""
    found: set[str] = set()
    for event in history.of("publish_invoke"):
        if not event.task.startswith("celery."):
            found.add(event.task_id)
        following = event.data.get("follows")
        found.update(following if isinstance(following, list) else ())
        if event.data.get("chord") and not event.data.get("chord_is"):
            found.add(str(event.data["chord"]))
    return sorted(found)


def findings(history: History) -> Findings:
    """Each task that came to its end and whose result is not there, or is another one.

    A retry has its task's id: the result is that of the last try. What the app is told to ignore
    is not looked for. A result that the app removed itself (``forget()``) is missing all the same:
    that is not seen.
    """
    read = history.last("results_read")
    if read is None:
        return Findings(unknown=[not_read(history)])
    seen = {event.task_id: event for event in history.of("result_read")}
    last: dict[str, int] = {}
    for event in history.of(*_TRIES):
        last[event.task_id] = max(event.retries, last.get(event.task_id, 0))
    ends: dict[str, list[Event]] = {}
    for event in history.of("returned", "raised"):
        if event.retries == last[event.task_id] and not event.task.startswith("celery."):
            ends.setdefault(event.task_id, []).append(event)
    found = Findings(unknown=counting.missed_events(history))
    for task_id, ended in ends.items():
        if task_id in seen:
            _judge(history, ended, seen[task_id], read, found)
        elif any(event.data["kept_by"] for event in ended):
            found.unknown.append(f"the result of {task_id[:8]} was not read")
    return found


def _judge(
    history: History, ended: Sequence[Event], seen: Event, read: Event, found: Findings
) -> None:
    keepers = {event.data["kept_by"] for event in ended}
    if keepers == {""}:
        return  # ignored
    message = ended[-1].message
    differs = _differs(history, ended, seen)
    if differs is None:
        return
    outcome, why = differs
    told = f"the result of {tell(history, message)} {why}"
    doubts = counting.missed_events(history) + counting.cut_short(history)
    if keepers != {"app"}:
        doubts.append("not every run of it keeps its result with the app's result backend")
    if message in counting.held(history):
        doubts.append("it is still held, and may run again")
    if _expired(ended, read):
        doubts.append("it may have expired")
    if doubts or outcome is Outcome.UNKNOWN:
        found.unknown.append(": ".join([told, *doubts[:1]]))
    else:
        found.broken.append(told)


def _differs(history: History, ended: Sequence[Event], seen: Event) -> tuple[Outcome, str] | None:
    """How the result differs from what the task came to, or why nobody can say; None when it
    is what it should be."""
    if seen.data.get("error"):
        return Outcome.UNKNOWN, f"could not be read: {seen.data['error']}"
    came_to = {SUCCESS if event.kind == "returned" else FAILURE for event in ended}
    # One of its runs may have failed with its process: Celery's main process stores that.
    if any(event.kind == "failed" for event in history.life(ended[-1].message)):
        came_to.add(FAILURE)
    state = str(seen.data.get("state"))
    if state not in came_to:
        why = f"is {state}, where its body ended in {' or '.join(sorted(came_to))}"
        return Outcome.BROKEN, why
    if state != SUCCESS:
        return None
    given = str(seen.data.get("result", OPAQUE))
    values = {str(event.data["result"]) for event in ended if event.kind == "returned"}
    if given in values and not given.startswith(OPAQUE):
        return None
    if any(value.startswith(OPAQUE) for value in (given, *values)):
        return Outcome.UNKNOWN, "cannot be compared with what it returned, which JSON does not hold"
    why = f"is {given[:80]}, where it returned {' or '.join(sorted(values))[:80]}"
    return Outcome.BROKEN, why


def _expired(ended: Sequence[Event], read: Event) -> bool:
    expires_s = read.data.get("expires_s")
    age_s = read.mono_s - min(event.mono_s for event in ended)
    return isinstance(expires_s, int | float) and 0 < expires_s <= age_s

"""Chains and callbacks: whether what follows a task ran once. Pure: from the history alone.

What follows is published by the process that ran the task before it: nobody has attempted it
yet, so a death at the wrong moment loses it without a lost message; and a task that runs twice
publishes it twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness import counting
from harness.findings import Findings
from harness.history import History
from harness.model import Event, MessageId
from harness.standing import Standing, stand
from harness.telling import tell


def findings(history: History) -> Findings:
    """Each task of a chain that did not run once after the one before it had returned.

    A callback (``link``) counts like the next of a chain where it has an id of its own; most
    are given theirs only when they are published, and then nothing tells that one is missing.
    """
    found = Findings(unknown=counting.missed_events(history) + counting.unread_canvases(history))
    standing = stand(history)
    # A retry, or one that replaced itself, has the rest of the chain with it anew.
    last = {event.task_id: event for event in history.of("publish_invoke")}
    expected: set[str] = set()
    for task_id, event in last.items():
        following = _following(event)
        expected.update(following)
        if task_id not in standing.returned:
            continue
        if event.data.get("follows_unknown"):
            found.unknown.append(f"what follows {task_id[:8]} has no id, and is not followed")
        for one in following:
            _judge_next(standing, task_id, one, found)
    for message in history.executions_of:
        if message.task_id in expected and counting.ran_again(history, message):
            found.broken.append(f"a task of a chain ran more than once: {tell(history, message)}")
    return found


def _following(event: Event) -> list[str]:
    following = event.data.get("follows")
    return [str(one) for one in following] if isinstance(following, list) else []


def _judge_next(standing: Standing, before: str, task_id: str, found: Findings) -> None:
    """``before`` has returned: ``task_id`` is to run, once."""
    history = standing.history
    again = standing.held.get(task_id) or standing.held.get(before)
    if again is not None:
        told = f"{tell(history, again)} is still held"
        found.unknown.append(f"what follows {before[:8]} may run yet, or again: {told}")
        return
    tries = standing.messages.get(task_id, ())
    open_ones = [one for one in tries if one not in standing.completed]
    if not standing.started(task_id):
        why = f"what follows {before[:8]} never ran: {_why_missing(standing, tries)}"
    elif open_ones:
        why = f"what follows {before[:8]} did not come to its end: {tell(history, open_ones[0])}"
    else:
        return
    if standing.doubts:
        found.unknown.append(f"{why}: {standing.doubts[0]}")
    else:
        found.broken.append(why)


def _why_missing(standing: Standing, tries: Sequence[MessageId]) -> str:
    if not tries:
        return "nobody published it"
    told = tell(standing.history, tries[0])
    if "confirmed" in {standing.fates[one] for one in tries}:
        return f"it is lost: {told}"
    # Whether it was sent or not, nobody holds it: it is not coming.
    return f"it may not have been sent, and nobody holds it: {told}"

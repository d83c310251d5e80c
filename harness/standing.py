"""How the messages of a history stand at its end, by task id: what chords and chains ask of it.

Counted once for all of them, for there may be thousands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from msgspec import Struct

from harness import counting
from harness.findings import OPAQUE
from harness.history import History
from harness.model import Event, MessageId


class Standing(Struct, frozen=True):
    """A task's messages are its tries: each retry is one more."""

    history: History
    messages: Mapping[str, tuple[MessageId, ...]]
    """By task id: those that somebody was to publish."""
    fates: Mapping[MessageId, str]
    completed: frozenset[MessageId]
    held: Mapping[str, MessageId]
    """By task id: one that the broker or a worker still holds."""
    lost: frozenset[MessageId]
    unsent: tuple[MessageId, ...]
    """Never completed, not seen with anybody, and perhaps never sent."""
    returned: Mapping[str, frozenset[str]]
    """By task id: digests of what its runs returned."""
    starts: Mapping[str, tuple[Event, ...]]
    """By task id: when and with what its body began."""
    missed: tuple[str, ...]
    """Why events may be missing."""
    doubts: tuple[str, ...]
    """Why no absence proves anything."""

    def started(self, task_id: str) -> list[MessageId]:
        return list(dict.fromkeys(event.message for event in self.starts.get(task_id, ())))


def stand(history: History) -> Standing:
    """What a history comes to, message by message."""
    fates = counting.attempted(history)
    messages: defaultdict[str, list[MessageId]] = defaultdict(list)
    for message in fates:
        messages[message.task_id].append(message)
    returned: defaultdict[str, set[str]] = defaultdict(set)
    for event in history.of("returned"):
        returned[event.task_id].add(str(event.data.get("result", f"{OPAQUE}not told")))
    never_began = {
        (run.role, run.pid, run.started_s) for run in history.executions if not run.begun
    }
    starts: defaultdict[str, list[Event]] = defaultdict(list)
    for event in history.of("started"):
        if (event.role, event.pid, event.mono_s) not in never_began:
            starts[event.task_id].append(event)
    return Standing(
        history=history,
        messages={task_id: tuple(tries) for task_id, tries in messages.items()},
        fates=fates,
        completed=frozenset(counting.completed(history)),
        held={message.task_id: message for message in counting.held(history)},
        lost=frozenset(counting.lost(history)),
        unsent=tuple(counting.unaccounted(history, "indeterminate", "rejected")),
        returned={task_id: frozenset(values) for task_id, values in returned.items()},
        starts={task_id: tuple(events) for task_id, events in starts.items()},
        missed=tuple(counting.missed_events(history)),
        doubts=tuple(counting.gaps(history) + counting.cut_short(history)),
    )

"""A trial's history: the events of all its processes in one order, and what follows from them.

Pure: built from events alone, so the same stored events give the same answers, offline.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from msgspec import Struct

from harness.model import MARKER_TASK, Event, MessageId

STEPS = (
    "publish_ok",
    "received",
    "started",
    "effect_begin",
    "effect",
    "returned",
    "retry_published",
    "finished",
    "retried",
    "failed",
    "acked",
    "rejected",
)
"""Event kinds that are steps of a message's life, in their order, as ``last_step`` reports them."""
BODY_ENDED = ("returned", "retry_published")
"""Events that prove a body to have done its part, even if its process dies before ``finished``:
it returned, or asked for another try, which is on its way."""
NO_STATE = "None"
"""The state with which Celery reports a task that ended neither well nor badly."""
_RANK = {kind: rank for rank, kind in enumerate(("publish_invoke", *STEPS))}


class Execution(Struct, frozen=True):
    """One run of a task's body, in one process. Times are ``mono_s``."""

    message: MessageId
    task: str
    role: str
    pid: int
    started_s: float
    finished_s: float | None
    """When the body had ended and Celery was done with it; None: it never got there."""
    cut_off_s: float | None
    """When it was broken off: its process died under it, or was told to exit in the middle
    of it. None: it ended, or it was still going at the end."""
    begun: bool = True
    """False: a fault held its process before the first line of the body, and there it died, or
    raised an exception. No line of the body ran."""
    died_s: float | None = None
    """When its process died, however much later, or was torn off, after the body had done its part.
    Where its worker has not settled the message by then, it has still to notice."""

    @property
    def open(self) -> bool:
        """Still going when the history ends."""
        return self.finished_s is None and self.cut_off_s is None

    def end_s(self, history_end_s: float) -> float:
        if self.finished_s is not None:
            return self.finished_s
        return self.cut_off_s if self.cut_off_s is not None else history_end_s

    def going_at(self, mono_s: float) -> bool:
        return self.started_s <= mono_s < self.end_s(float("inf"))


class History:
    """Events in the order of the machine's monotonic clock; everything else is derived."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = tuple(sorted(events, key=_order))

    def of(self, *kinds: str) -> tuple[Event, ...]:
        """The events of these kinds, in order; those of the marker task left out."""
        found = [e for kind in kinds for e in self._by_kind[kind] if e.task != MARKER_TASK]
        return tuple(found if len(kinds) == 1 else sorted(found, key=_order))

    def first(self, kind: str) -> Event | None:
        return next(iter(self._by_kind[kind]), None)

    def last(self, kind: str) -> Event | None:
        return next(reversed(self._by_kind[kind]), None)

    @cached_property
    def _by_kind(self) -> Mapping[str, list[Event]]:
        found: defaultdict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            found[event.kind].append(event)
        return found

    @cached_property
    def _by_message(self) -> Mapping[MessageId, list[Event]]:
        found: defaultdict[MessageId, list[Event]] = defaultdict(list)
        for event in self.events:
            if event.task_id and event.task != MARKER_TASK:
                found[event.message].append(event)
        return found

    @property
    def start_s(self) -> float:
        """``mono_s`` of the first publish: the zero of the times we show."""
        first = next(iter(self.of("publish_invoke")), None)
        return first.mono_s if first else (self.events[0].mono_s if self.events else 0.0)

    @property
    def end_s(self) -> float:
        """``mono_s`` at which the drain ended; what came later was the tidying up."""
        drained = self.last("drain_ended")
        return drained.mono_s if drained else (self.events[-1].mono_s if self.events else 0.0)

    @property
    def end_at_s(self) -> float:
        """The same moment on the wall clock, to which a broker's own times compare."""
        drained = self.last("drain_ended")
        return drained.at_s if drained else (self.events[-1].at_s if self.events else 0.0)

    def life(self, message: MessageId) -> list[Event]:
        """Every event of one message, in order."""
        return self._by_message.get(message, [])

    def last_step(self, run: Execution, mono_s: float) -> str:
        """The last step that the run's own process had noted of it by then."""
        reached = [
            event.kind
            for event in self.life(run.message)
            if (event.role, event.pid) == (run.role, run.pid)
            and run.started_s <= event.mono_s <= mono_s
            and event.kind in STEPS
        ]
        return reached[-1] if reached else ""

    @cached_property
    def executions(self) -> tuple[Execution, ...]:
        """Every run of a body, paired with its end by process, message and order."""
        going: defaultdict[tuple[str, int, MessageId], list[Event]] = defaultdict(list)
        found: list[Execution] = []
        for event in self.of("started", "finished"):
            if not event.task_id:
                continue
            starts = going[event.role, event.pid, event.message]
            if event.kind == "started":
                starts.append(event)
            else:
                found.append(self._ended(self._start_of(event, starts), event))
        found += [self._unended(start) for starts in going.values() for start in starts]
        return tuple(sorted(found, key=lambda run: (run.started_s, run.role, run.pid, run.message)))

    def _start_of(self, finish: Event, starts: list[Event]) -> Event:
        """Takes from ``starts`` the one that ``finish`` ends: the first whose process had not
        died in between, for a pid may be used again, and a worker restarted under its name.

        Deaths are dated roughly, a finish is exact: one that seems to come after the death
        of its process came just before it. A finish whose start was not written is an
        execution that ended all the same.
        """
        for start in starts:
            died_s = self._death_after(start)
            if died_s is None or died_s >= finish.mono_s:
                starts.remove(start)
                return start
        return starts.pop() if starts else finish

    def _ended(self, start: Event, finish: Event) -> Execution:
        """A body that ended: returned, raised, retried. One torn off by ``SystemExit`` (how a pool
        child obeys SIGTERM) comes by here too, with no state: it did not end, unless it had done
        its part by then."""
        if finish.data.get("state") != NO_STATE:
            return _execution(start, finish.mono_s, died_s=self._death_after(start))
        return self._broken_off(start, finish.mono_s)

    def _unended(self, start: Event) -> Execution:
        """Its process died, or works at it still. It may have died just after the body's end."""
        died_s = self._death_after(start)
        return _execution(start, None) if died_s is None else self._broken_off(start, died_s)

    def _broken_off(self, start: Event, at_s: float) -> Execution:
        done_s = self._body_ended_s(start)
        if done_s is not None:
            return _execution(start, done_s, died_s=at_s)
        return _execution(start, None, at_s, begun=not self._never_began(start))

    def _body_ended_s(self, start: Event) -> float | None:
        """When the process of ``start`` noted that this run's body had done its part."""
        return next((e.mono_s for e in self._after(start) if e.kind in BODY_ENDED), None)

    def _never_began(self, start: Event) -> bool:
        """Whether the process of ``start`` was seen to wait at the failpoint that follows
        ``task_prerun``, and came no further: it never went on, or raised what it was told to."""
        stopped = False
        for event in self._after(start):
            if event.data.get("step") == "started":
                held = event.kind == "step_reached" and bool(event.data.get("holds"))
                stopped = held or event.data.get("how") == "raised"
        return stopped

    def _after(self, start: Event) -> Iterator[Event]:
        """What the process of ``start`` noted of this run of its message, after its start."""
        process = (start.role, start.pid)
        mine = [e for e in self.life(start.message) if (e.role, e.pid) == process]
        for event in mine[mine.index(start) + 1 :]:
            if event.kind == "started":
                return
            yield event

    def _death_after(self, start: Event) -> float | None:
        """When the process of ``start`` died: its own death, or that of its worker's leader.

        The death is looked for after the start, so that a pid that is used again, or a
        worker restarted under the same name, does not kill the wrong execution.
        """
        for event in self._by_kind["process_exited"]:
            if event.data.get("name") != start.role or event.mono_s < start.mono_s:
                continue
            if event.data.get("leader") or event.data.get("pid") == start.pid:
                return event.mono_s
        return None

    @cached_property
    def executions_of(self) -> Mapping[MessageId, tuple[Execution, ...]]:
        """Each message whose body began, and each time that it did."""
        begun = {m: tuple(run for run in runs if run.begun) for m, runs in self.runs_of.items()}
        return {message: runs for message, runs in begun.items() if runs}

    @cached_property
    def runs_of(self) -> Mapping[MessageId, tuple[Execution, ...]]:
        """Each message that a process set about running, and each time that one did."""
        found: defaultdict[MessageId, list[Execution]] = defaultdict(list)
        for execution in self.executions:
            found[execution.message].append(execution)
        return {message: tuple(runs) for message, runs in found.items()}

    def going_at(self, mono_s: float) -> list[Execution]:
        """Executions whose body was running at that moment."""
        return [execution for execution in self.executions if execution.going_at(mono_s)]


def _order(event: Event) -> tuple[float, int, str, int, str, int]:
    """By the machine's clock; events of one moment by their place in a message's life, so
    that the order of the files they were read from changes nothing."""
    rank = _RANK.get(event.kind, len(_RANK))
    return event.mono_s, rank, event.role, event.pid, event.task_id, event.retries


def _execution(
    start: Event,
    finished_s: float | None,
    cut_off_s: float | None = None,
    *,
    begun: bool = True,
    died_s: float | None = None,
) -> Execution:
    return Execution(
        message=start.message,
        task=start.task,
        role=start.role,
        pid=start.pid,
        started_s=start.mono_s,
        finished_s=finished_s,
        cut_off_s=cut_off_s,
        begun=begun,
        died_s=died_s,
    )

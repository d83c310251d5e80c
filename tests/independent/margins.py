"""Where the ledger and the probe may differ, and what proves that a difference is of that kind.

Both write from inside the process that dies, at places that are not the same:

    probe    started .................. returned ... finished     publish_ok   retry_published
    ledger            start ... returns                publishes_retry            published_retry

A process that ended between two of them has written one and not the other. That is believed only
of a process that a fault says it killed (``victims``, ``killed_mono_s``), or that stood at the
step between the two when it was killed, delayed or made to raise. Each such place is an
amendment of the ledger; everything that follows from the amended ledger must agree exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from harness.history import History
from harness.model import Event
from harness.record import TrialRecord
from tests.independent.books import Line, closed, runs

AFTER = ("callbacks_published", "result_stored")
"""Steps between the body's last line and ``task_postrun``."""
MOMENT_S = 0.5
"""A process that was not held goes from one place to the next within this, even on a busy
machine. One that was killed later than that was somewhere else."""
BUSY_S = 2.0
"""The same for one that lived, and wrote down itself when it came there: its threads share one
lock, and a dozen trials two cores (seen: 0.6 s from the last line to ``task_postrun``)."""


@dataclass(frozen=True)
class Amendment:
    """One change to the ledger, and the evidence for it."""

    why: str
    add: tuple[Line, ...] = ()
    drop: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What the faults of a trial say: who was killed when, who stood where."""

    killed_s: dict[int, float]
    stood: dict[tuple[int, str, str], str]
    """(pid, task id, step): ``killed``, ``raised`` or ``released``."""
    frozen: frozenset[int]
    """Stopped by SIGSTOP for a while."""
    shutdown: bool
    """Whether a worker was told to end, and ended what ran."""
    history: History

    def killed_soon_after(self, pid: int, mono_s: float) -> bool:
        return -0.05 <= self.killed_s.get(pid, -1.0) - mono_s <= MOMENT_S

    def died_s(self, pid: int) -> float | None:
        """When a fault killed it; or when one that a fault had stopped, and that so could write
        nothing, was seen to be dead."""
        exits = [e for e in self.history.of("process_exited") if e.data.get("pid") == pid]
        if pid in self.frozen and exits:
            return exits[0].mono_s
        return self.killed_s.get(pid)

    def told(self, line: Line, kind: str) -> list[float]:
        """When the line's process wrote such events of the line's message."""
        return [
            event.mono_s
            for event in self.history.of(kind)
            if event.pid == line.pid and tuple(event.message) == line.message
        ]

    def torn_off(self, start: Event) -> bool:
        """Whether an orderly shutdown was at work, and the process noted that it ended the run
        in the middle (SystemExit)."""
        ends = [e for e in self.history.of("finished") if _same(e, start)]
        ends = [e for e in ends if e.mono_s >= start.mono_s]
        return self.shutdown and bool(ends) and ends[0].data.get("state") == "None"

    def at(self, pid: int, task_id: str, *steps: str) -> str:
        found = (self.stood.get((pid, task_id, step), "") for step in steps)
        return next((how for how in found if how), "")


def evidence(record: TrialRecord, history: History) -> Evidence:
    killed_s: dict[int, float] = {}
    for fault in record.faults:
        victims, at_s = fault.evidence.get("victims"), fault.evidence.get("killed_mono_s")
        if isinstance(victims, list) and isinstance(at_s, float):
            killed_s |= dict.fromkeys(victims, at_s)
    stops = [fault.evidence.get("stopped") for fault in record.faults]
    frozen = frozenset(pid for pids in stops if isinstance(pids, list) for pid in pids)
    stood: dict[tuple[int, str, str], str] = {}
    for event in history.of("step_reached", "step_left"):
        where = (event.pid, event.task_id, str(event.data["step"]))
        if event.kind == "step_left":
            stood[where] = str(event.data["how"])
        elif event.pid in killed_s and event.data.get("holds"):
            stood[where] = "killed"
    shutdown = any(fault.kind == "shutdown" and fault.landed for fault in record.faults)
    return Evidence(killed_s, stood, frozen, shutdown, history)


def amendments(lines: list[Line], record: TrialRecord, history: History) -> list[Amendment]:
    """Everything in which the ledger may honestly differ from the probe in this trial."""
    known = evidence(record, history)
    found = [
        *_bodies_not_begun(lines, known),
        *_ends_not_seen(lines, known),
        *_publishes(lines, known),
    ]
    amended = apply(lines, found)
    return [*found, *_extents(amended, known)]


def apply(lines: list[Line], changes: Iterable[Amendment]) -> list[Line]:
    amended = list(lines)
    for change in changes:
        amended = [line for line in amended if line not in change.drop] + list(change.add)
    return sorted(amended, key=lambda line: line.mono_s)


def _bodies_not_begun(lines: list[Line], known: Evidence) -> Iterator[Amendment]:
    """``task_prerun`` was sent, and the process ended, or raised, before the body's first line."""
    begun: dict[tuple[int, str, int], list[float]] = {}
    for run in runs(lines).values():
        begun.setdefault((run[0].pid, *run[0].message), []).append(run[0].mono_s)
    starts = known.history.of("started")
    for start in starts:
        who = (start.pid, start.task_id, start.retries)
        later_s = [e.mono_s for e in starts if _same(e, start) and e.mono_s > start.mono_s]
        until_s = min(later_s, default=float("inf"))
        if any(start.mono_s <= at_s < until_s for at_s in begun.get(who, ())):
            continue
        how = known.at(start.pid, start.task_id, "started")
        if how in {"killed", "raised"}:
            continue  # held there: the engine knows that the body never began
        if known.killed_soon_after(start.pid, start.mono_s) or (how and known.torn_off(start)):
            line = Line("start", start.task_id, start.retries, f"?{start.mono_s}", start.pid, 0.0)
            yield Amendment(
                f"pid {start.pid} ended ({how or 'killed'}) between task_prerun and the body",
                add=(replace(line, mono_s=start.mono_s),),
            )


def _same(one: Event, other: Event) -> bool:
    return (one.pid, one.message) == (other.pid, other.message)


def _ends_not_seen(lines: list[Line], known: Evidence) -> Iterator[Amendment]:
    """The body wrote its last line, and the process was killed before Celery knew."""
    seen = known.history.of("returned", "finished", "retry_published")
    for run in runs(lines).values():
        last = run[-1]
        if last.what not in {"returns", "raises"}:
            continue
        noticed = any(
            e.pid == last.pid and tuple(e.message) == last.message and e.mono_s >= run[0].mono_s
            for e in seen
        )
        if not noticed and known.killed_soon_after(last.pid, last.mono_s):
            yield Amendment(
                f"pid {last.pid} was killed between the body's last line and Celery's next step",
                drop=(last,),
                add=(replace(last, what="goes_on"),),
            )


def _publishes(lines: list[Line], known: Evidence) -> Iterator[Amendment]:
    """A publish that the broker took, of which its caller was not told; or one only begun."""
    for line in lines:
        if line.what == "publish_raised" and _raised_after_publish(line, known):
            yield Amendment("raised after the publish", add=(replace(line, what="published"),))
        if line.what == "publish_retry_raised" and _raised_after_publish(line, known):
            again = replace(line, what="published_retry", run="")
            yield Amendment("raised after the retry's publish", add=(again,))
    for run in runs(lines).values():
        last = run[-1]
        if last.what == "publishes_retry":
            yield from _cut_off_publish(last, known)


def _raised_after_publish(line: Line, known: Evidence) -> bool:
    return known.at(line.pid, line.task_id, "published", "retry_published") == "raised"


def _cut_off_publish(last: Line, known: Evidence) -> Iterator[Amendment]:
    steps = ("published", "retry_published")
    held = known.at(last.pid, last.task_id, *steps) == "killed"
    if not held and not known.killed_soon_after(last.pid, last.mono_s):
        return
    told = {
        event.kind
        for event in known.history.events
        if event.pid == last.pid and event.task_id == last.task_id and event.mono_s > last.mono_s
    }
    why = f"pid {last.pid} was killed while it published a retry"
    if "publish_invoke" not in told:
        yield Amendment(why, drop=(last,), add=(replace(last, what="goes_on"),))
    elif "retry_published" in told:
        # One thread of several may have stood there for long, while the others went on.
        until_s = known.killed_s[last.pid] if held else last.mono_s
        yield Amendment(why, add=(replace(last, what="published_retry", mono_s=until_s),))
    elif "publish_ok" in told:
        yield Amendment(why, add=(replace(last, what="published_retry", run=""),))


def _extents(lines: list[Line], known: Evidence) -> Iterator[Amendment]:
    """How long a run was going: the probe has it from ``task_prerun`` to ``task_postrun`` or the
    death of its process, the ledger from its first line to its last."""
    bodies = list(runs(lines).values())
    messages = [run[0].message for run in bodies]
    for run in bodies:
        if messages.count(run[0].message) > 1:
            first, last = run[0], run[-1]
            yield from _longer(first, _began_s(first, known), known, "started")
            died_s = known.died_s(last.pid)
            if not closed(run) and died_s is not None:
                yield from _longer(last, died_s, known)
            else:
                yield from _longer(last, _ended_s(last, known), known, *AFTER)


def _longer(edge: Line, until_s: float, known: Evidence, *steps: str) -> Iterator[Amendment]:
    """``edge`` is a run's first line or its last; what lies beyond it is short, or was held."""
    held = bool(steps) and known.at(edge.pid, edge.task_id, *steps)
    dying = not steps and until_s > edge.mono_s
    if held or dying or abs(until_s - edge.mono_s) <= BUSY_S:
        why = f"pid {edge.pid} had the message {until_s - edge.mono_s:+.3f} s beyond its lines"
        yield Amendment(why, add=(replace(edge, what="goes_on", mono_s=until_s),))


def _began_s(first: Line, known: Evidence) -> float:
    """When ``task_prerun`` came for this run."""
    told = known.told(first, "started")
    return max((at_s for at_s in told if at_s <= first.mono_s), default=first.mono_s)


def _ended_s(last: Line, known: Evidence) -> float:
    """When ``task_postrun`` came for this run."""
    told = known.told(last, "finished")
    return min((at_s for at_s in told if at_s >= last.mono_s), default=last.mono_s)

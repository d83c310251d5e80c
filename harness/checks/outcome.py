"""The counts come out as they are known to: the claim of an incident.

    outcome(lost=1, completed=3, duplicate_executions=0)
    outcome(starts=(3, 5), ends=(3, 5), overlapping_executions=1)

A count is a number, or a range ``(at_least, at_most)``. The names are those of the contract
(``Counts``), and more: of the message that was started most often, ``starts`` and ``ends``; of
the one that was published most often, ``lineages``; how many chords and chains did not come out,
and how many results read as what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import NamedTuple, TypedDict, Unpack

from msgspec import Struct

from harness import chains, chords, counting, landing, results
from harness.findings import Findings
from harness.history import History
from harness.model import Counts, MessageId, Outcome, UsageError, Verdict
from harness.naming import known
from harness.telling import tell_some

Number = int | tuple[int, int]

STARTS, ENDS, LINEAGES = "starts", "ends", "lineages"
_FOUND: Mapping[str, Callable[[History], Findings]] = {
    "failed_chords": chords.findings,
    "failed_chains": chains.findings,
    "unreadable_results": results.findings,
}
"""What other checks find broken, by the name of their number."""
_READ = {
    f"results_{state}": state.upper() for state in ("pending", "started", "success", "failure")
}
"""How many results read as such, of the tasks that were published or announced."""
NAMES = (*Counts.__struct_fields__, STARTS, ENDS, LINEAGES, *_FOUND, *_READ)
_ONLY_GROW = {
    "attempted",
    "confirmed",
    "completed",
    "lost",
    "duplicate_executions",
    "duplicate_effects",
    STARTS,
    LINEAGES,
}
"""What is seen of these is proved: events that are missing could only add to them."""


class Numbers(TypedDict, total=False):
    """What ``outcome`` takes."""

    attempted: Number
    confirmed: Number
    rejected: Number
    indeterminate: Number
    completed: Number
    lost: Number
    stranded: Number
    late: Number
    duplicate_executions: Number
    overlapping_executions: Number
    duplicate_effects: Number
    unexpected: Number
    redelivery_pending: Number
    starts: Number
    """How often the most started message was started."""
    ends: Number
    """How often that message ran to its end."""
    lineages: Number
    """How often the most published message was published, surely or perhaps."""
    failed_chords: Number
    failed_chains: Number
    """Tasks that ran twice in a chain, or should have run after another and did not."""
    unreadable_results: Number
    results_pending: Number
    results_started: Number
    results_success: Number
    results_failure: Number


_HARM = {
    "lost",
    "stranded",
    "duplicate_executions",
    "overlapping_executions",
    "duplicate_effects",
    "unexpected",
    *_FOUND,
}
"""More of these than claimed is broken, whatever became of the fault."""


class KnownOutcome(Struct, frozen=True):
    """Broken when a count cannot be within its bounds. Unknown when it is not sure to be:
    the drain was cut short, the history has gaps, or the broker still holds a message that
    will add to the count, and the claim does not say so (``stranded``,
    ``redelivery_pending``). What is known is what a fault leads to: where it did not land, a
    count that came out otherwise breaks nothing, unless it is more harm than was claimed."""

    bounds: dict[str, tuple[int, int]]

    @property
    def needs(self) -> frozenset[str]:
        reads = {"unreadable_results", *_READ}.intersection(self.bounds)
        return frozenset({"results"}) if reads else frozenset()

    def judge(self, history: History) -> Verdict:
        doubts = counting.cut_short(history) + counting.gaps(history)
        untested = landing.untested(history)
        broken: list[str] = []
        unknown: list[str] = []
        for name, (at_least, at_most) in self.bounds.items():
            seen = _seen(history, name, self.bounds, doubts)
            if seen.low > at_most or seen.high < at_least:
                proved = not untested or (seen.low > at_most and name in _HARM)
                told = f"{_word(name)} is {seen.low:g}, not {_said(at_least, at_most)}"
                (broken if proved else unknown).append(told + _lives(history, name))
            elif seen.low < at_least or seen.later > at_most:
                unknown += seen.why_open
        if broken:
            return Verdict(Outcome.BROKEN, tuple(broken))
        if unknown:
            return Verdict(Outcome.UNKNOWN, tuple(dict.fromkeys([*untested, *unknown])))
        return Verdict(Outcome.HOLDS)

    def __str__(self) -> str:
        return ", ".join(f"{_word(name)} {_said(*both)}" for name, both in self.bounds.items())


class _Seen(NamedTuple):
    """What a count may be: at the end of the trial between ``low`` and ``high``, and
    ``later`` once everything that is still held has come back."""

    low: float
    high: float
    later: float
    why_open: list[str]


def _seen(history: History, name: str, claimed: Mapping[str, object], doubts: list[str]) -> _Seen:
    if name in _FOUND:
        found = _FOUND[name](history)
        most = inf if found.unknown else len(found.broken)
        return _Seen(len(found.broken), most, most, found.unknown)
    value = _value(history, name)
    if value is None:
        return _Seen(0, inf, inf, [_why_not_read(history, name)])
    if doubts:
        return _Seen(value if name in _ONLY_GROW else 0, inf, inf, doubts)
    if name == "lost":
        unclear = counting.unaccounted(history, "indeterminate")
        told = f"{len(unclear)} of indeterminate publish were never completed: "
        most = value + len(unclear)
        return _Seen(value, most, most, [told + tell_some(history, unclear)])
    coming = _coming(history, name, claimed)
    told = f"{len(coming)} still held would add to {_word(name)}: "
    return _Seen(value, value, value + len(coming), [told + tell_some(history, coming)])


def _value(history: History, name: str) -> int | None:
    if name in {STARTS, ENDS}:
        started = _most_started(history)
        runs = history.executions_of[started] if started else ()
        return sum(name == STARTS or run.finished_s is not None for run in runs)
    if name == LINEAGES:
        several = counting.lineages(history).values()
        return max(several, default=int(bool(counting.attempted(history))))
    if name in _READ:
        states = list(results.states(history).values())
        return None if results.not_read(history) else states.count(_READ[name])
    value: int | None = getattr(counting.count(history), name)
    return value


def _why_not_read(history: History, name: str) -> str:
    if name in _READ:
        return results.not_read(history)
    return "effects were not read: the workload declares no `effects` command"


def _most_started(history: History) -> MessageId | None:
    """The message that was started most often; of several, the one that ended most often."""

    def how_often(message: MessageId) -> tuple[int, int]:
        runs = history.executions_of[message]
        return len(runs), sum(run.finished_s is not None for run in runs)

    return max(history.executions_of, key=how_often, default=None)


def _coming(history: History, name: str, claimed: Mapping[str, object]) -> list[MessageId]:
    """Messages that are still held, that the claim does not speak of, and that add to the
    count when they come back."""
    adding = _ADDING.get(name)
    if adding is None:
        return []
    left: set[MessageId] = set()
    if "stranded" not in claimed:
        left |= counting.stranded(history).keys()
    if "redelivery_pending" not in claimed:
        left |= counting.redelivery_pending(history).keys()
    return sorted(left.intersection(adding(history)))


def _new_duplicates(history: History) -> set[MessageId]:
    return set(counting.would_run_again(history)) - set(counting.duplicates(history))


def _more_starts(history: History) -> Iterable[MessageId]:
    """Where no body has begun, any message that is held would be the first."""
    return counting.would_run_again(history) if history.executions_of else counting.held(history)


def _new_doubled_effects(history: History) -> set[MessageId]:
    applied = {event.message for event in history.of("effect_applied")}
    return applied - set(counting.doubled_effects(history) or ())


_ADDING: Mapping[str, Callable[[History], Iterable[MessageId]]] = {
    "completed": counting.stranded,
    "late": counting.stranded,
    "duplicate_executions": _new_duplicates,
    "duplicate_effects": _new_doubled_effects,
    STARTS: _more_starts,
    ENDS: _more_starts,
    LINEAGES: counting.would_run_again,
    **dict.fromkeys(_READ, counting.held),
}
"""Which messages would add to a count, if they were held."""

_COUNTED: Mapping[str, Callable[[History], Iterable[MessageId]]] = {
    "lost": counting.lost,
    "stranded": counting.stranded,
    "late": counting.late,
    "duplicate_executions": counting.duplicates,
    "overlapping_executions": counting.overlapping,
    "duplicate_effects": lambda history: counting.doubled_effects(history) or (),
    "unexpected": counting.unexpected,
    "redelivery_pending": counting.redelivery_pending,
    STARTS: lambda history: filter(None, [_most_started(history)]),
    ENDS: lambda history: filter(None, [_most_started(history)]),
    LINEAGES: counting.lineages,
}
"""Which messages make up a count."""


def _lives(history: History, name: str) -> str:
    if name in _FOUND:
        broken = _FOUND[name](history).broken
        return f": {broken[0]}" if broken else ""
    counted = _COUNTED.get(name)
    told = tell_some(history, list(counted(history))) if counted else ""
    return f": {told}" if told else ""


def _word(name: str) -> str:
    return name.replace("_", " ")


def _said(at_least: int, at_most: int) -> str:
    return f"{at_least}" if at_least == at_most else f"{at_least} to {at_most}"


def outcome(**numbers: Unpack[Numbers]) -> KnownOutcome:
    """Each count is as known: ``outcome(lost=1, completed=3, starts=(3, 5))``."""
    if not numbers:
        raise UsageError("outcome() without a count claims nothing")
    bounds: dict[str, tuple[int, int]] = {}
    for name, number in numbers.items():
        known(name, NAMES, "count")
        at_least, at_most = number if isinstance(number, tuple) else (number, number)
        if not 0 <= at_least <= at_most:
            raise UsageError(f"outcome({name}={number}): a range is (at_least, at_most)")
        bounds[name] = (at_least, at_most)
    return KnownOutcome(bounds)

"""Chords: what the body of each one received, and whether it ran. Pure: from the history alone.

A chord is a number of headers, the tasks that have its body's id with them, and that body: it is
to be given the result of each header once, and to run once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from operator import contains

from msgspec import Struct

from harness import counting
from harness.findings import OPAQUE, Findings
from harness.history import History
from harness.model import Event, MessageId, Outcome
from harness.standing import Standing, stand
from harness.telling import tell, tell_some

UNLOCK_TASK = "celery.chord_unlock"
"""Celery's own: looks at the headers again and again, where the backend cannot count them."""


class Chord(Struct, frozen=True):
    """One chord as it was published."""

    body: str
    """Id of the task that is given the results: of a chain, its first."""
    headers: tuple[str, ...]
    """Ids, in the order of their index where ``ordered``."""
    ordered: bool
    takes_nothing: bool
    """The body is immutable: it waits for the headers, and is not given their results."""
    body_is: str
    """What the body is, where it is nothing that can be followed."""


def chords(history: History) -> list[Chord]:
    """Every chord of which a header was published."""
    published: defaultdict[str, list[Event]] = defaultdict(list)
    for event in history.of("publish_invoke"):
        if event.data.get("chord"):
            published[str(event.data["chord"])].append(event)
    return [_chord(body, events) for body, events in published.items()]


def _chord(body: str, events: Sequence[Event]) -> Chord:
    places = {event.task_id: event.data.get("group_index") for event in events}
    indices = [index for index in places.values() if isinstance(index, int)]
    ordered = sorted(indices) == list(range(len(places)))
    headers = sorted(places, key=lambda one: int(str(places[one]))) if ordered else list(places)
    return Chord(
        body=body,
        headers=tuple(headers),
        ordered=ordered,
        takes_nothing=bool(events[-1].data.get("chord_takes_nothing")),
        body_is=str(events[-1].data.get("chord_is") or ""),
    )


def findings(history: History) -> Findings:
    """Each chord that did not come out as it should, and each of which that cannot be told."""
    found = Findings(unknown=counting.missed_events(history) + counting.unread_canvases(history))
    standing = stand(history)
    for chord in chords(history):
        about = _judge(standing, chord)
        if about is None:
            continue
        outcome, why = about
        reasons = found.broken if outcome is Outcome.BROKEN else found.unknown
        reasons.append(f"the body {chord.body[:8]} of a chord of {len(chord.headers)} {why}")
    return found


_About = tuple[Outcome, str] | None
"""Broken, or unknown, and why; None: it is as it should be."""


def _judge(standing: Standing, chord: Chord) -> _About:
    if chord.body_is:
        return Outcome.UNKNOWN, f"is {chord.body_is}, which is not followed"
    history, tries = standing.history, standing.started(chord.body)
    twice = [message for message in tries if counting.ran_again(history, message)]
    if twice:
        return Outcome.BROKEN, f"ran more than once: {tell_some(history, twice)}"
    if not tries:
        return _never_ran(standing, chord)
    received = _received(standing, chord)
    if received is not None:
        return received
    coming = [m for m in standing.held.values() if _could_start_it(history, chord, m)]
    if coming:
        why = f"ran once, and could run again: {tell(history, coming[0])} is still held"
        return Outcome.UNKNOWN, why
    return _came_to_its_end(standing, chord)


def _could_start_it(history: History, chord: Chord, message: MessageId) -> bool:
    if message.task_id in {chord.body, *chord.headers}:
        return True
    return any(event.task == UNLOCK_TASK for event in history.life(message))


def _came_to_its_end(standing: Standing, chord: Chord) -> _About:
    """It ran; whether it, and each retry of it, came through."""
    open_ones = [
        one for one in standing.messages.get(chord.body, ()) if one not in standing.completed
    ]
    if not open_ones:
        return None
    why = f"did not come to its end: {tell(standing.history, open_ones[0])}"
    if standing.doubts:
        return Outcome.UNKNOWN, f"{why}: {standing.doubts[0]}"
    return Outcome.BROKEN, why


# -- what it received ------------------------------------------------------------------


def _received(standing: Standing, chord: Chord) -> _About:
    """What the body was given, against what the headers returned."""
    if chord.takes_nothing:
        return None
    returned = standing.returned
    silent = [header for header in chord.headers if header not in returned]
    if silent:
        told = f"ran, though its header {silent[0][:8]} never returned"
        return _unless_missed(standing, (Outcome.BROKEN, told))
    results = [returned[header] for header in chord.headers]
    in_order = _in_order(standing.history, chord)
    for start in standing.starts[chord.body]:
        about = _compare(start, results, in_order=in_order)
        if about is not None:
            return _unless_missed(standing, about)
    return None


def _unless_missed(standing: Standing, about: tuple[Outcome, str]) -> _About:
    """What was returned may be among the events that a probe could not write."""
    if standing.missed:
        return Outcome.UNKNOWN, f"{about[1]}: {standing.missed[0]}"
    return about


def _in_order(history: History, chord: Chord) -> bool:
    """Whether the results are to come in the order of the headers; Redis can be told not to."""
    ready = history.first("worker_ready")
    settings = ready.data.get("settings") if ready else None
    options = settings.get("result_backend_transport_options") if isinstance(settings, dict) else {}
    unordered = isinstance(options, dict) and options.get("result_chord_ordered") is False
    return chord.ordered and not unordered


def _compare(start: Event, results: Sequence[frozenset[str]], *, in_order: bool) -> _About:
    given, number = start.data.get("first_argument"), start.data.get("first_argument_number")
    if not isinstance(given, list):
        return Outcome.UNKNOWN, "was not seen to receive a list of results"
    if number != len(results):
        if start.data.get("first_argument_lists"):
            why = f"received {number} results, some of them lists: a group within its header?"
            return Outcome.UNKNOWN, why
        return Outcome.BROKEN, f"received {number} results of {len(results)} headers"
    if len(given) != number or any(one.startswith(OPAQUE) for one in (*given, *_all(results))):
        why = "received results that cannot be compared: too many, or not known to JSON"
        return Outcome.UNKNOWN, why
    return _match(given, results, in_order=in_order)


def _match(given: Sequence[str], results: Sequence[frozenset[str]], *, in_order: bool) -> _About:
    """How what was given differs from one result of each header; None when it does not."""
    if all(map(contains, results, given)):
        return None
    if not _each_once(given, results):
        why = f"received {_shown(given)}, where its headers returned {_shown(_all(results))}"
        return Outcome.BROKEN, why
    if in_order:
        return Outcome.BROKEN, "received the results in another order than its headers'"
    return None


def _all(results: Sequence[frozenset[str]]) -> list[str]:
    return [one for result in results for one in sorted(result)]


def _shown(values: Sequence[str]) -> str:
    more = ", ..." if len(values) > 6 else ""  # noqa: PLR2004 - enough to recognise them
    return f"[{', '.join(value[:40] for value in values[:6])}{more}]"


def _each_once(given: Sequence[str], results: Sequence[frozenset[str]]) -> bool:
    """Whether what was given is one result of each header, in any order."""
    left = Counter(given)
    left.subtract(value for result in results if len(result) == 1 for value in result)
    if min(left.values()) < 0:
        return False
    return _matched(list(left.elements()), [result for result in results if len(result) > 1])


def _matched(given: Sequence[str], results: Sequence[frozenset[str]]) -> bool:
    """A perfect matching: each header that may have returned several values has one of them."""
    giver: dict[int, int] = {}

    def place(header: int, tried: set[int]) -> bool:
        for at, value in enumerate(given):
            if value in results[header] and at not in tried:
                tried.add(at)
                if at not in giver or place(giver[at], tried):
                    giver[at] = header
                    return True
        return False

    return all(place(header, set()) for header in range(len(results)))


# -- why it never ran ------------------------------------------------------------------


def _never_ran(standing: Standing, chord: Chord) -> _About:
    history = standing.history
    if standing.doubts:
        return Outcome.UNKNOWN, f"never ran, so far: {standing.doubts[0]}"
    if chord.body in standing.messages:
        return _published_for_nothing(standing, chord)
    for header in chord.headers:
        why = _gone(standing, header)
        if why:
            return Outcome.BROKEN, f"never ran, and cannot any more: {why}"
    unsent = [one for one in standing.unsent if one.task_id in chord.headers]
    if unsent:
        why = f"never ran, but a header may not have been sent: {tell(history, unsent[0])}"
        return Outcome.UNKNOWN, why
    if standing.held:
        kept = next(iter(standing.held.values()))
        return Outcome.UNKNOWN, f"never ran, so far: {tell(history, kept)} is still held"
    return Outcome.BROKEN, "never ran: its headers are done with, and nobody published it"


def _published_for_nothing(standing: Standing, chord: Chord) -> _About:
    tries = standing.messages[chord.body]
    told = tell(standing.history, tries[0])
    if chord.body in standing.held:
        return Outcome.UNKNOWN, f"never ran, so far: it is still held: {told}"
    if "confirmed" in {standing.fates[one] for one in tries}:
        return Outcome.BROKEN, f"never ran: it was published and is lost: {told}"
    # Whether it was sent or not, nobody holds it: it is not coming.
    return Outcome.BROKEN, f"never ran: it may not have been sent, and nobody holds it: {told}"


def _gone(standing: Standing, header: str) -> str:
    """Why this header will never return; empty when it did, or still may."""
    if header in standing.returned or header in standing.held:
        return ""
    history, tries = standing.history, standing.messages[header]
    lost = [one for one in tries if one in standing.lost]
    if lost:
        return f"a header is lost: {tell(history, lost[0])}"
    kinds = {event.kind for one in tries for event in history.life(one)}
    return f"a header failed: {tell(history, tries[-1])}" if kinds & {"raised", "failed"} else ""

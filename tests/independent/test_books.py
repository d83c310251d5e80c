"""The slow obvious count, on ledgers written by hand; and what a margin needs for evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model import Counts, Outcome
from harness.record import FaultRecord, Timings, TrialRecord
from tests.histories import Story
from tests.independent import books, margins
from tests.independent.books import Line, Message

A: Message = ("a", 0)


def line(what: str, mono_s: float, run: str = "", pid: int = 11, retries: int = 0) -> Line:
    return Line(what, "a", retries, run, pid, mono_s)


PUBLISHED = [line("publishes", 1), line("published", 2)]
RUN = [line("start", 3, "r1"), line("goes_on", 4, "r1"), line("returns", 5, "r1")]
TORN = [line("start", 3, "r1"), line("goes_on", 4, "r1")]
AGAIN = [replace(one, run="r2", pid=12, mono_s=one.mono_s + 1) for one in RUN]


def counted(*lines: Line, held: bool = False, over_s: float = 100.0) -> set[str]:
    """The counts that have the message."""
    found = books.count(lines, {A} if held else set(), over_s)
    return {name for name, messages in found.items() if A in messages}


SENT = {"attempted", "confirmed"}


@pytest.mark.parametrize(
    ("lines", "held", "expected"),
    [
        (PUBLISHED[:1], False, {"attempted", "indeterminate"}),
        (PUBLISHED, False, SENT | {"lost"}),
        (PUBLISHED, True, SENT | {"stranded"}),
        (PUBLISHED + TORN, False, SENT | {"lost"}),
        (PUBLISHED + TORN, True, SENT | {"stranded"}),
        (PUBLISHED + RUN, False, SENT | {"completed"}),
        (PUBLISHED + RUN, True, SENT | {"completed", "redelivery_pending"}),
        (RUN, False, {"unexpected"}),
        (
            PUBLISHED + RUN + AGAIN,
            False,
            SENT | {"completed", "duplicate_executions", "overlapping_executions"},
        ),
    ],
)
def test_each_count_has_the_messages_it_should(
    lines: list[Line],
    held: bool,  # noqa: FBT001 - a column of the table
    expected: set[str],
) -> None:
    """One message, and every count that it belongs to."""
    assert counted(*lines, held=held) == expected


RAISED = [line("publishes", 1), line("publish_raised", 2)]


def rejected(*lines: Line, held: bool = False) -> bool:
    """Whether the ledger lets a message pass as surely not sent; else it is indeterminate."""
    found = books.count(lines, {A} if held else set(), 100.0, {A})
    assert (A in found["rejected"]) is not (A in found["indeterminate"])
    return A in found["rejected"]


def test_what_was_surely_not_sent_raised_and_was_seen_nowhere() -> None:
    """A publish that did not raise, one of two that did not, a run, a message with the broker:
    each denies it."""
    assert rejected(*RAISED)
    assert not rejected(*RAISED[:1])
    assert not rejected(*RAISED, replace(RAISED[0], mono_s=3.0))
    assert not rejected(*RAISED, *TORN)
    assert not rejected(*RAISED, held=True)


def test_a_body_that_went_on_to_the_end_is_held_by_its_worker() -> None:
    """It was the tidying up that ended it."""
    assert counted(*PUBLISHED, *TORN, over_s=4.05) == SENT | {"stranded"}


def test_a_retry_is_another_message() -> None:
    """Attempted by the body that asked for it, and confirmed once that was told so."""
    asks = [line("publishes_retry", 5, "r1"), line("published_retry", 6, "r1")]
    found = books.count([*PUBLISHED, *TORN, *asks], set(), 100.0)
    assert found["completed"] == {A}
    assert found["lost"] == {("a", 1)}


def record(killed_s: float | None) -> TrialRecord:
    """A trial in which a fault killed pid 11 at that time, if at all."""
    facts: dict[str, object] = {"victims": [11], "killed_mono_s": killed_s}
    found = {} if killed_s is None else facts
    fault = FaultRecord("sigkill", "child", "", 0.0, landed=True, evidence=found)
    return TrialRecord(
        "t", "s", "redis", "default", {}, [fault], Counts(), Timings(), Outcome.HOLDS, [], ""
    )


@pytest.mark.parametrize(
    ("killed_s", "amended"), [(1005.1, True), (1006.0, False), (1004.0, False), (None, False)]
)
def test_an_end_that_the_probe_missed_needs_a_kill_right_after_it(
    killed_s: float | None,
    amended: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Of a process that lived on, died much later or died before, nothing is explained."""
    story = Story().at(3).started("a")
    lines = [replace(one, mono_s=one.mono_s + 1000.0) for one in RUN]
    found = margins.amendments(lines, record(killed_s), story.history())
    assert bool(found) is amended
    assert all(change.drop[0].what == "returns" for change in found)


@pytest.mark.parametrize(
    ("killed_s", "amended"), [(1003.1, True), (1004.0, False), (1002.0, False), (None, False)]
)
def test_a_start_that_the_ledger_lacks_needs_a_kill_right_after_it(
    killed_s: float | None,
    amended: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """The probe writes it a moment before the body's own first line."""
    story = Story().at(3).started("a")
    found = margins.amendments([], record(killed_s), story.history())
    assert bool(found) is amended
    assert all(change.add[0].what == "start" for change in found)


def test_a_start_that_was_held_at_its_step_needs_no_explanation() -> None:
    """The failpoint stood between the two, and its process never left it: the engine knows that
    the body did not begin. One only seen there, and killed long after, is not explained."""
    story = Story().at(3).started("a").held("a")
    assert not margins.amendments([], record(1060.0), story.history())
    seen = Story().at(3).started("a")
    seen.event("step_reached", "a", role="worker-1", by=11, step="started", index=0)
    assert not margins.amendments([], record(1060.0), seen.history())


def test_a_thread_held_at_its_retry_has_the_message_until_its_process_dies() -> None:
    """The others went on meanwhile, and ran it again: at the same time."""
    story = Story().at(3).started("a").at(4).event("retry_published", "a", role="worker-1", by=11)
    story.event("step_reached", "a", role="worker-1", by=11, step="retry_published", holds=True)
    asks = [line("start", 3, "r1"), line("publishes_retry", 3.9, "r1")]
    lines = [replace(one, mono_s=one.mono_s + 1000.0) for one in (*asks, *AGAIN)]
    assert not books.count(lines, set(), 2000.0)["overlapping_executions"]
    changes = margins.amendments(lines, record(1008.0), story.history())
    amended = books.count(margins.apply(lines, changes), set(), 2000.0)
    assert amended["overlapping_executions"] == {A}

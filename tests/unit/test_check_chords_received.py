"""Chords: what is said of what a body was given, and of one that did not come through."""

from __future__ import annotations

import pytest

from harness.checks.chord_bodies_run_once import chord_bodies_run_once
from harness.checks.outcome import outcome
from harness.model import Outcome
from tests.histories import Story

HOLDS, BROKEN, UNKNOWN = Outcome.HOLDS, Outcome.BROKEN, Outcome.UNKNOWN
BODY = "the body body of a chord of"


def says(story: Story) -> tuple[Outcome, str]:
    verdict = chord_bodies_run_once().judge(story.history())
    assert (verdict.outcome is HOLDS) == (not verdict.reasons), "a reason, unless it holds"
    return verdict.outcome, "; ".join(verdict.reasons)


def unordered(given: list[str], **headers: list[str]) -> Story:
    """A chord without indices: what each header returned, one value a run; and its body's."""
    story = Story()
    for header in headers:
        story.publish(header, chord="body")
    for header, results in headers.items():
        for result in results:
            story.returns(header, result)
    return story.publish("body").returns("body", given=given).ends()


@pytest.mark.parametrize("given", [["1", "2"], ["2", "1"], ["3", "2"], ["1", "3"]])
def test_a_header_gives_way_to_another(given: list[str]) -> None:
    """One may have given 1 or 2, the other 1 or 3: whoever has the other's gives way."""
    assert says(unordered(given, a=["1", "2"], b=["1", "3"])) == (HOLDS, "")


@pytest.mark.parametrize("given", [["1", "1"], ["3", "3"], ["2", "4"], ["4", "3"]])
def test_a_value_that_no_header_is_left_for(given: list[str]) -> None:
    """Twice the one that each may have given but once, or one that nobody gave."""
    first, second = ["1", "2"], ["2", "3"]
    said, why = says(unordered(given, a=first, b=second))
    assert (said, "where its headers returned [1, 2, 2, 3]" in why) == (BROKEN, True)


def test_what_only_a_header_that_ran_twice_could_have_given() -> None:
    """The other's value is there; what is left is none of its."""
    assert says(unordered(["3", "1"], a=["1", "2"], b=["1"]))[0] is BROKEN


def test_the_order_is_that_of_the_index() -> None:
    """Not that of the ids, nor that in which the headers were published."""
    story = Story()
    for header, index in (("b", 2), ("a", 1), ("c", 0)):
        story.publish(header, chord="body", group_index=index)
    story.returns("a", "1").returns("b", "2").returns("c", "0").publish("body")
    assert says(story.returns("body", given=["0", "1", "2"]).ends()) == (HOLDS, "")


def test_the_order_of_a_worker_that_was_never_ready() -> None:
    """What it is told is not known: the order is that of the headers."""
    story = Story(baseline=False).chord("body", "a", "b").returns("a", "1").returns("b", "2")
    story.publish("body").returns("body", given=["2", "1"])
    said, why = says(story.ends())
    assert (said, "in another order" in why) == (BROKEN, True)


@pytest.mark.parametrize(("number", "shown"), [(6, 6), (7, 6), (8, 6)])
def test_many_long_results_are_cut(number: int, shown: int) -> None:
    """Six, and 40 characters of each: enough to recognise them."""
    names = [f"h{index}" for index in range(number)]
    story = Story().chord("body", *names)
    for name in names:
        story.returns(name, "1" * 50)
    why = says(story.publish("body").returns("body", given=["2" * 50] * number).ends())[1]
    received, _, returned = why.partition(", where its headers returned ")
    more = ", ..." if number > shown else ""
    assert received == f"{BODY} {number} received [{', '.join(['2' * 40] * shown)}{more}]"
    assert returned == f"[{', '.join(['1' * 40] * shown)}{more}]"


def test_what_cannot_be_compared_is_told() -> None:
    """No list of results was seen; or there are values that JSON does not hold."""
    untold = Story().chord("body", "a").returns("a").publish("body").returns("body").ends()
    assert says(untold)[1].startswith(f"{BODY} 1 was not seen to receive a list")
    story = Story().chord("body", "a").returns("a", "opaque:set").publish("body")
    why = says(story.returns("body", given=["1"]).ends())[1]
    assert why.startswith(f"{BODY} 1 received results that cannot be compared")
    assert why.endswith("JSON")


def test_what_a_probe_could_not_write_may_be_the_result() -> None:
    """A header whose return was not seen, or another value than the one it was seen to return."""
    for given in (["1"], ["2"]):
        story = Story().chord("body", "a")
        if given == ["2"]:
            story.returns("a", "1")
        story.event("started", "x", role="worker-9", by=77, events_missed_before=1)
        said, why = says(story.publish("body").returns("body", given=given).ends())
        assert said is UNKNOWN
        assert why.endswith(": the probe of pid 77 could not write some of its events")


def test_long_ids_are_told_by_their_beginning() -> None:
    """Eight characters, as everywhere."""
    story = Story().chord("0123456789", "abcdefghij", "b").returns("b").publish("0123456789")
    why = says(story.returns("0123456789", given=["1", "2"]).ends())[1]
    assert why.startswith("the body 01234567 of a chord of 2 ran, though its header abcdefgh never")


# -- a body that did not come through ----------------------------------------------------


def one_header() -> Story:
    return Story().chord("body", "a").returns("a", "1").publish("body")


def cut() -> Story:
    """Acknowledged early, and killed in the middle of its body."""
    return one_header().received("body").acked("body").started("body", given=["1"]).dies(pid=11)


def test_a_body_that_died_in_the_middle() -> None:
    """It received the right results, and is lost with its process: nothing came of the chord."""
    said, why = says(cut().ends())
    assert (said, why.startswith(f"{BODY} 1 did not come to its end: body [")) == (BROKEN, True)
    assert outcome(failed_chords=1, lost=1).judge(cut().ends().history()).outcome is HOLDS


def test_a_body_that_died_in_the_middle_and_may_come_back() -> None:
    """It is held; or the drain was cut short, and nobody knows."""
    held = cut()
    assert says(held.ends(held.ready("body")))[0] is UNKNOWN
    said, why = says(cut().drained(settled=False, why="no progress").broker_holds())
    assert (said, "end: body [" in why, why.endswith("no progress")) == (UNKNOWN, True, True)


def test_a_body_that_raised_ran() -> None:
    """What it came to is its own affair; and each of its tries is to come through."""
    raised = one_header().received("body").started("body", given=["1"]).note("raised", "body")
    raised.finished("body", state="FAILURE").acked("body")
    assert says(raised.ends()) == (HOLDS, "")
    story = one_header().received("body").started("body", given=["1"]).acked("body")
    story.note("retry_published", "body").finished("body", state="RETRY")
    said, why = says(story.publish("body", retries=1).ends())
    assert (said, "did not come to its end: body retry 1 [" in why) == (BROKEN, True)


def test_a_body_whose_process_was_killed_before_it_began() -> None:
    """Held at its start: it never ran, and is lost; redelivered, it runs once."""
    story = one_header().received("body").started("body", given=["1"]).held("body").dies(pid=11)
    said, why = says(story.ends())
    assert (said, "never ran: it was published and is lost: body [" in why) == (BROKEN, True)
    story = one_header().received("body").started("body", given=["1"]).held("body").dies(pid=11)
    assert says(story.returns("body", given=["1"], pid=12).ends()) == (HOLDS, "")


def test_a_header_that_failed_with_its_process() -> None:
    """Celery's main process stored the failure."""
    story = Story().publish("a", chord="body").returns("a").publish("b", "info", chord="body")
    story.received("b").started("b").dies(pid=11).failed("b").acked("b")
    assert "cannot any more: a header failed: b [" in says(story.ends())[1]


def test_one_chord_after_another() -> None:
    """The first came out, the second did not."""
    story = one_header().returns("body", given=["1"]).chord("body-2", "b").returns("b")
    said, why = says(story.ends())
    assert (said, why.startswith("the body body-2 of a chord of 1 never ran")) == (BROKEN, True)


def test_what_else_is_held_does_not_concern_it() -> None:
    """Neither header, nor body, nor Celery's own that looks at headers."""
    story = one_header().returns("body", given=["1"]).publish("other")
    assert says(story.ends(story.ready("other"))) == (HOLDS, "")


def test_a_body_that_nobody_was_seen_to_publish_and_that_ran() -> None:
    """It is another check's to call it unexpected."""
    story = Story().chord("body", "a").returns("a", "1").returns("body", given=["1"])
    assert says(story.ends()) == (HOLDS, "")

"""Chords: the body is given each header's result once, and runs once."""

from __future__ import annotations

import pytest

from harness import checks
from harness.checks.chord_bodies_run_once import chord_bodies_run_once
from harness.checks.outcome import outcome
from harness.history import History
from harness.model import Outcome
from tests.histories import Story

HOLDS, BROKEN, UNKNOWN = Outcome.HOLDS, Outcome.BROKEN, Outcome.UNKNOWN
UNLOCK = "celery.chord_unlock"


def says(story: Story) -> tuple[Outcome, str]:
    verdict = chord_bodies_run_once().judge(story.history())
    assert (verdict.outcome is HOLDS) == (not verdict.reasons), "a reason, unless it holds"
    return verdict.outcome, "; ".join(verdict.reasons)


def headers(**canvas: bool | str) -> Story:
    """Three headers that returned 1, 2 and 3."""
    story = Story().chord("body", "a", "b", "c", **canvas)
    return story.returns("a", "1").returns("b", "2").returns("c", "3")


def test_a_chord_that_comes_out() -> None:
    """Each result once, in the order of the headers, and one run; it is written down and read."""
    story = headers().publish("body").returns("body", "6", given=["1", "2", "3"]).ends()
    assert says(story) == (HOLDS, "")
    assert outcome(failed_chords=0).judge(story.history()).outcome is HOLDS
    check = chord_bodies_run_once()
    assert checks.load(checks.dump(check)) == check
    assert str(check) == "chord bodies run once"


def test_there_is_none() -> None:
    """Tasks that belong to nothing are no chord."""
    assert says(Story().publish("a").runs("a").ends()) == (HOLDS, "")


def test_a_body_that_ran_twice() -> None:
    """Whatever it was given."""
    story = headers().publish("body").publish("body")
    story.returns("body", given=["1", "2", "3"]).returns("body", given=["1", "2", "3"])
    said, why = says(story.ends())
    assert said is BROKEN
    assert why.startswith("the body body of a chord of 3 ran more than once: body [")
    assert outcome(failed_chords=1).judge(story.history()).outcome is HOLDS


def test_a_retry_of_the_body_is_no_second_run() -> None:
    """A retry is a message of its own; it is given the same."""
    story = headers().publish("body").received("body").started("body", given=["1", "2", "3"])
    story.note("retry_published", "body").finished("body", state="RETRY").acked("body")
    story.publish("body", retries=1).returns("body", given=["1", "2", "3"], retries=1)
    assert says(story.ends()) == (HOLDS, "")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["1", "2"], "received 2 results of 3 headers"),
        (["1", "2", "2", "3"], "received 4 results of 3 headers"),
        (["1", "2", "2"], "received [1, 2, 2], where its headers returned [1, 2, 3]"),
        (["1", "2", "4"], "received [1, 2, 4], where its headers returned [1, 2, 3]"),
        (["2", "1", "3"], "received the results in another order than its headers'"),
        ([], "received 0 results of 3 headers"),
    ],
)
def test_a_body_that_received_something_else(given: list[str], why: str) -> None:
    """Too few, one twice, a wrong one, another order."""
    story = headers().publish("body").returns("body", given=given).ends()
    assert says(story) == (BROKEN, f"the body body of a chord of 3 {why}")


def test_order_is_not_asked_for_where_it_is_not_given() -> None:
    """Redis may be told not to keep it; and a chord without indices has none."""
    story = Story(baseline=False)
    options = {"result_backend_transport_options": {"result_chord_ordered": False}}
    story.event("worker_ready", settings=options).event("baseline_met", workers=[])
    story.chord("body", "a", "b").returns("a", "1").returns("b", "2").publish("body")
    assert says(story.returns("body", given=["2", "1"]).ends()) == (HOLDS, "")
    bare = Story().publish("a", chord="body").publish("b", chord="body").publish("body")
    bare.returns("a", "1").returns("b", "2").returns("body", given=["2", "1"])
    assert says(bare.ends()) == (HOLDS, "")


def test_a_header_that_ran_twice_may_have_given_either_result() -> None:
    """Its first run or its second; but one of them, and once."""
    for given, said in ((["1", "2"], HOLDS), (["7", "2"], HOLDS), (["1", "7"], BROKEN)):
        story = Story().chord("body", "a", "b").returns("a", "1").returns("a", "7")
        story.returns("b", "2").publish("body").returns("body", given=given)
        assert says(story.ends())[0] is said


def test_without_order_each_result_has_its_own_header() -> None:
    """Two headers that could both have given the one value need two of it (a matching)."""
    story = Story().publish("a", chord="body").publish("b", chord="body").publish("body")
    story.returns("a", "1").returns("a", "2").returns("b", "1")
    for given, said in ((["1", "2"], HOLDS), (["2", "1"], HOLDS), (["2", "2"], BROKEN)):
        told = Story(baseline=False)
        told.events = list(story.events)
        told.at(60).returns("body", given=given)
        assert says(told.ends())[0] is said


def test_a_body_before_its_header() -> None:
    """It ran, and one of its headers never returned anything."""
    story = Story().chord("body", "a", "b").returns("a", "1").publish("body")
    said, why = says(story.returns("body", given=["1", "null"]).ends())
    assert (said, why.partition(" of 2 ")[2]) == (BROKEN, "ran, though its header b never returned")


def test_values_that_cannot_be_compared() -> None:
    """Nothing is said of what JSON does not hold, of a very long list, or of a nested header."""
    opaque = Story().chord("body", "a").returns("a", "opaque:set").publish("body")
    assert says(opaque.returns("body", given=["opaque:set"]).ends())[0] is UNKNOWN
    nested = headers().publish("body").received("body")
    data = {"first_argument": ["[1,2]", "3"], "first_argument_number": 2, "first_argument_lists": 1}
    nested.event("started", "body", role="worker-1", by=11, **data)  # type: ignore[arg-type]
    said, why = says(nested.returned("body").finished("body").acked("body").ends())
    assert (said, "a group within its header?" in why) == (UNKNOWN, True)
    untold = headers().publish("body").returns("body").ends()
    assert says(untold)[0] is UNKNOWN


def test_a_body_that_is_given_nothing() -> None:
    """An immutable one only waits for its headers."""
    story = headers(chord_takes_nothing=True).publish("body").returns("body")
    assert says(story.ends()) == (HOLDS, "")


def test_a_body_that_is_not_followed() -> None:
    """A group as a body has no id of its own."""
    said, why = says(headers(chord_is="group").ends())
    assert (said, why.endswith("is group, which is not followed")) == (UNKNOWN, True)


def test_a_lost_header() -> None:
    """Acknowledged and gone with its process: the body cannot run any more, though Celery's
    own task still looks at the headers."""
    story = Story().chord("body", "a", "b").publish("look", task=UNLOCK).returns("a", "1")
    story.received("b").acked("b").started("b").dies(pid=11)
    said, why = says(story.ends(story.ready("look")))
    assert said is BROKEN
    assert "never ran, and cannot any more: a header is lost: b [" in why


def test_a_failed_header() -> None:
    """Its body raised, so the chord's never runs."""
    said, why = says(Story().chord("body", "a", "b").returns("a", "1").raises("b").ends())
    assert (said, "cannot any more: a header failed: b [" in why) == (BROKEN, True)


def test_a_header_that_may_come_yet() -> None:
    """Stranded, or it failed and is held all the same: nothing is proved."""
    story = Story().chord("body", "a", "b").returns("a", "1").received("b").started("b").dies()
    assert says(story.ends(story.unacked("b", back_in_s=60)))[0] is UNKNOWN
    again = Story().chord("body", "a").raises("a")
    assert says(again.ends(again.ready("a")))[0] is UNKNOWN


def test_a_body_that_nobody_published() -> None:
    """All headers returned, and whoever was to publish it died; unless something is held that
    may do so."""
    said, why = says(headers().ends())
    assert said is BROKEN
    assert why.endswith("never ran: its headers are done with, and nobody published it")
    story = headers().publish("look", task=UNLOCK)
    assert says(story.ends(story.ready("look")))[0] is UNKNOWN


def test_a_body_that_was_published_and_did_not_run() -> None:
    """Held, it may run yet. Lost, perhaps never sent, or surely not: nobody holds it any more."""
    said, why = says(headers().publish("body").ends())
    assert (said, "it was published and is lost: body [" in why) == (BROKEN, True)
    held = headers().publish("body")
    assert says(held.ends(held.ready("body")))[0] is UNKNOWN
    for publish in ("info", "died", "fail"):
        said, why = says(headers().publish("body", publish).ends())
        assert (said, "may not have been sent, and nobody holds it" in why) == (BROKEN, True)


def test_a_chord_that_may_not_have_been_sent_whole() -> None:
    """Its producer was told of an error, or died: what a header came to is not known."""
    for publish in ("info", "died", "fail"):
        story = Story().publish("a", chord="body").returns("a").publish("b", publish, chord="body")
        said, why = says(story.ends())
        assert (said, "a header may not have been sent: b [" in why) == (UNKNOWN, True)


def test_what_would_run_again() -> None:
    """The body, a header, or the task that publishes the body: held, it may run it again."""
    for held in ("body", "c", "look"):
        story = headers().publish("look", task=UNLOCK).runs("look").publish("body")
        story.returns("body", given=["1", "2", "3"])
        said, why = says(story.ends(story.ready(held)))
        assert (said, "ran once, and could run again" in why) == (UNKNOWN, True)


def test_absence_is_no_proof_in_a_history_with_gaps() -> None:
    """Nobody asked the broker, the drain was cut short, a probe could not write, a signature
    could not be read."""
    assert says(headers())[0] is UNKNOWN
    assert says(headers().drained(settled=False).broker_holds())[0] is UNKNOWN
    story = headers().event("started", "x", events_missed_before=1)
    assert says(story.ends())[0] is UNKNOWN
    unread = Story().publish("a", canvas_unread="KeyError: 'tasks'").runs("a").ends()
    assert says(unread)[0] is UNKNOWN
    assert outcome(failed_chords=3).judge(unread.history()).outcome is UNKNOWN


def headers_of_none() -> History:
    return Story().publish("a").runs("a").ends().history()


@pytest.mark.parametrize(("number", "last"), [(3, "nobody published it"), (4, "and 1 more")])
def test_as_many_reasons_as_are_shown(number: int, last: str) -> None:
    """Three are told without a word about more."""
    story = Story()
    for index in range(number):
        story.chord(f"body-{index}", f"a{index}").returns(f"a{index}")
    assert says(story.ends())[1].endswith(last)


def test_each_chord_is_told_but_not_all_of_many() -> None:
    """Three reasons, and how many more."""
    story = Story()
    for number in range(5):
        story.chord(f"body-{number}", f"a{number}").returns(f"a{number}")
    verdict = chord_bodies_run_once().judge(story.ends().history())
    assert len(verdict.reasons) == 4
    assert verdict.reasons[-1] == "and 2 more"
    wrong = outcome(failed_chords=4).judge(story.history())
    assert wrong.reasons[0].startswith("failed chords is 5, not 4: the body body-0 of a chord")
    assert outcome(failed_chords=1).judge(headers_of_none()).reasons == (
        "failed chords is 0, not 1",
    )
    assert outcome(failed_chords=5).judge(story.history()).outcome is HOLDS

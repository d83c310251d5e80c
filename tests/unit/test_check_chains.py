"""Chains and callbacks: what follows a task runs once when that task has returned."""

from __future__ import annotations

from harness import checks
from harness.checks.chains_run_once import chains_run_once
from harness.checks.outcome import outcome
from harness.model import Outcome
from tests.histories import Story

HOLDS, BROKEN, UNKNOWN = Outcome.HOLDS, Outcome.BROKEN, Outcome.UNKNOWN


def says(story: Story) -> tuple[Outcome, str]:
    verdict = chains_run_once().judge(story.history())
    assert (verdict.outcome is HOLDS) == (not verdict.reasons), "a reason, unless it holds"
    return verdict.outcome, "; ".join(verdict.reasons)


def first() -> Story:
    """A chain of three, of which the first has returned."""
    return Story().publish("a", follows=["b"]).returns("a")


def test_a_chain_that_comes_out() -> None:
    """Each task once; it is written down and read."""
    story = first().publish("b", follows=["c"]).returns("b").publish("c").returns("c").ends()
    assert says(story) == (HOLDS, "")
    check = chains_run_once()
    assert checks.load(checks.dump(check)) == check
    assert str(check) == "chains run once"


def test_what_follows_a_task_that_did_not_return_is_not_expected() -> None:
    """It raised, or it is lost: that is not the chain's to tell."""
    assert says(Story().publish("a", follows=["b"]).raises("a").ends()) == (HOLDS, "")
    lost = Story().publish("a", follows=["b"]).received("a").acked("a").started("a").dies()
    assert says(lost.ends()) == (HOLDS, "")


def test_nobody_published_it() -> None:
    """The loss that no lost message shows."""
    story = first().ends()
    assert story.counts().lost == 0
    assert says(story) == (BROKEN, "what follows a never ran: nobody published it")
    assert outcome(failed_chains=1, lost=0).judge(story.history()).outcome is HOLDS


def test_it_was_published_and_is_lost() -> None:
    """Before it started, or in the middle of it."""
    said, why = says(first().publish("b").ends())
    assert (said, why.startswith("what follows a never ran: it is lost: b [")) == (BROKEN, True)
    cut = first().publish("b").received("b").acked("b").started("b").dies(pid=11).ends()
    said, why = says(cut)
    assert (said, "did not come to its end: b [" in why) == (BROKEN, True)


def test_it_ran_twice() -> None:
    """Whether the one before it returned once or twice; the first of a chain is not its affair."""
    story = first().publish("b").returns("b").publish("b").returns("b").ends()
    said, why = says(story)
    assert (said, why.startswith("a task of a chain ran more than once: b [")) == (BROKEN, True)
    again = Story().publish("a", follows=["b"]).returns("a").returns("a").publish("b")
    assert says(again.returns("b").ends()) == (HOLDS, "")


def test_a_retry_goes_on_with_the_chain() -> None:
    """(a, 0) asks for another try; (a, 1) returns, and what follows runs once."""
    story = Story().publish("a", follows=["b"]).received("a").started("a")
    story.note("retry_published", "a").finished("a", state="RETRY").acked("a")
    story.publish("a", retries=1, follows=["b"]).returns("a", retries=1)
    story.publish("b").received("b").started("b").note("retry_published", "b")
    story.finished("b", state="RETRY").acked("b").publish("b", retries=1).returns("b", retries=1)
    assert says(story.ends()) == (HOLDS, "")


def test_a_task_that_took_anothers_place_is_no_second_run() -> None:
    """``Task.replace`` publishes another task under the id of the one that it replaces."""
    story = (
        first().publish("b").received("b").started("b").finished("b", state="IGNORED").acked("b")
    )
    story.publish("b", nesting=1).returns("b")
    assert says(story.ends()) == (HOLDS, "")
    assert says(story.returns("b").ends())[0] is BROKEN


def test_several_follow() -> None:
    """A group in a chain, and callbacks that have an id: each of them."""
    story = Story().publish("a", follows=["b", "c"]).returns("a").publish("b").returns("b").ends()
    assert says(story) == (BROKEN, "what follows a never ran: nobody published it")


def test_what_may_run_yet_or_again() -> None:
    """It is held; or the one before it is, and would publish it again."""
    story = first().publish("b")
    said, why = says(story.ends(story.ready("b")))
    assert (said, "again: b [" in why, "is still held" in why) == (UNKNOWN, True, True)
    story = first().publish("b").returns("b")
    assert says(story.ends(story.ready("b")))[0] is UNKNOWN
    assert says(story.ends(story.unacked("a", back_in_s=9)))[0] is UNKNOWN
    story = first()
    assert says(story.ends(story.unacked("a", back_in_s=9)))[0] is UNKNOWN


def test_what_nobody_can_know() -> None:
    """An unread signature, no id; a history with gaps."""
    said, why = says(Story().publish("x", canvas_unread="KeyError").runs("x").ends())
    assert (said, why) == (UNKNOWN, "what belongs to x could not be read: KeyError")
    assert says(Story().publish("a", follows_unknown=True).returns("a").ends())[0] is UNKNOWN
    assert says(first())[0] is UNKNOWN
    assert says(first().drained(settled=False).broker_holds())[0] is UNKNOWN
    assert says(first().event("started", "x", events_missed_before=1).ends())[0] is UNKNOWN


def test_every_task_that_returned_is_followed() -> None:
    """Also when one that was published before it never did."""
    story = Story().publish("x", follows=["y"]).publish("a", follows=["b"]).returns("a")
    assert says(story.ends()) == (BROKEN, "what follows a never ran: nobody published it")


def test_a_process_that_was_killed_before_the_body_ran_nothing() -> None:
    """Held at its start and killed: what follows never ran, and is lost."""
    story = first().publish("b").received("b").acked("b").started("b").held("b").dies(pid=11)
    said, why = says(story.ends())
    assert (said, "never ran: it is lost" in why) == (BROKEN, True)


def test_long_ids_are_told_by_their_beginning() -> None:
    """Eight characters, as everywhere."""
    long = "0123456789"
    gone = Story().publish(long, follows=["b"]).returns(long)
    cut = Story().publish(long, follows=["b"]).returns(long).publish("b").received("b").acked("b")
    held = Story().publish(long, follows=["b"]).returns(long).publish("b")
    unnamed = Story().publish(long, follows_unknown=True).returns(long)
    for story in (gone.ends(), cut.started("b").dies(pid=11).ends(), held.ends(held.ready("b"))):
        assert "what follows 01234567 " in says(story)[1]
    assert says(unnamed.ends())[1].startswith("what follows 01234567 ")
    unread = Story().publish(long, canvas_unread="KeyError").runs(long)
    assert says(unread.ends())[1].startswith("what belongs to 01234567 ")


def test_perhaps_not_sent() -> None:
    """Whether it was or not: nobody holds it, and the task before it returned."""
    for publish in ("info", "died", "fail"):
        said, why = says(first().publish("b", publish).ends())
        assert said is BROKEN
        assert "may not have been sent, and nobody holds it" in why
    cut = first().publish("b", "info").received("b").acked("b").started("b").dies(pid=11)
    assert says(cut.ends())[0] is BROKEN

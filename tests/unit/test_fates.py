"""What became of one message: in exactly one of six ways; and what counts as a body's run."""

from __future__ import annotations

import pytest

from harness import counting
from harness.model import Fate, MessageId
from tests.histories import Story

A = MessageId("a", 0)


def fate(story: Story) -> Fate:
    return counting.fates(story.history())[A]


def test_once() -> None:
    """Completed, and nobody holds it any more."""
    assert fate(Story().publish("a").runs("a").ends()) is Fate.ONCE


def test_duplicate() -> None:
    """Its body was started twice; that the first run was cut off makes it no less."""
    cut = Story().publish("a").received("a").started("a").effect("a").dies()
    assert fate(cut.runs("a", "worker-1+", pid=21).ends()) is Fate.DUPLICATE
    assert fate(Story().publish("a").runs("a").runs("a").ends()) is Fate.DUPLICATE


def test_pending() -> None:
    """Completed once so far: the broker would deliver it again."""
    story = Story().publish("a").runs("a")
    assert fate(story.ends(story.unacked("a", back_in_s=3600))) is Fate.PENDING


def test_stranded_and_lost() -> None:
    """Not completed: somebody holds it, or nobody does. Two starts make it no duplicate."""
    story = Story().publish("a").received("a").started("a").dies()
    assert fate(story.ends()) is Fate.LOST
    held = Story().publish("a").received("a").started("a").dies()
    assert fate(held.ends(held.unacked("a", back_in_s=3600))) is Fate.STRANDED
    twice = Story().publish("a").started("a").dies().started("a", "worker-1+").dies("worker-1+")
    assert fate(twice.ends()) is Fate.LOST


@pytest.mark.parametrize("outcomes", [("info",), ("died",)])
def test_nobody_knows_whether_it_was_sent(outcomes: tuple[str, ...]) -> None:
    """Not completed, and held by nobody: it may never have been there."""
    assert fate(Story().publish("a", *outcomes).ends()) is Fate.UNKNOWN


def test_nothing_is_known_from_what_is_not_there() -> None:
    """Where events are missing, messages have no name, or the drain gave up: only a second start
    that was seen is a proof."""
    for doubt in ("gap", "unnamed", "gave up"):
        for runs, found in ((0, Fate.UNKNOWN), (1, Fate.UNKNOWN), (2, Fate.DUPLICATE)):
            story = Story().publish("a").publish("b").publish("c")
            for _ in range(runs):
                story.runs("a")
            if doubt == "gap":
                story.note("started", "b", events_missed_before=1)
            story.drained(settled=doubt != "gave up")
            story.broker_holds(unnamed=1 if doubt == "unnamed" else 0)
            assert fate(story) is found, (doubt, runs)


def test_a_body_that_returned_is_completed() -> None:
    """Whoever died next: before its result was stored, or its acknowledgement was sent. And so is
    one whose next try is on its way."""
    for kind in ("returned", "retry_published"):
        story = Story().publish("a").received("a").acked("a").started("a").effect("a")
        story.note(kind, "a").dies()
        assert fate(story.ends()) is Fate.ONCE, kind
        (run,) = story.history().executions
        assert run.cut_off_s is None
        torn = Story().publish("a").received("a").started("a").note(kind, "a")
        assert fate(torn.finished("a", state="None").ends()) is Fate.ONCE


def test_it_is_not_another_runs_return() -> None:
    """Of another process, or of the run before."""
    story = Story().publish("a").received("a").started("a").note("returned", "a", pid=12)
    assert fate(story.dies().ends()) is Fate.LOST
    story = Story().publish("a").started("a").note("returned", "a").started("a").dies()
    first, second = story.ends().history().executions
    assert (first.cut_off_s, second.finished_s) == (None, None)


def test_held_before_its_body_it_never_began() -> None:
    """Killed where it waited for us, before the body's first line, or made to raise there:
    redelivered, it runs once. Its time is wasted all the same."""
    killed = Story().publish("a").received("a").started("a").held("a").dies()
    raised = Story().publish("a").received("a").started("a").held("a")
    raised.let_go("a", how="raised").finished("a", state="None")
    for story in (killed, raised):
        story.runs("a", "worker-1+", pid=21).ends()
        assert fate(story) is Fate.ONCE
        assert story.counts().duplicate_executions == 0
        assert counting.timings(story.history()).wasted_work_s > 0


def test_let_go_it_may_have_begun() -> None:
    """What follows the failpoint is microseconds away: it counts, as a double effect must. So it
    does where it waited elsewhere, in another process, or where nothing held it."""
    for hold in ("let go", "elsewhere", "not held", "another"):
        story = Story().publish("a").received("a").started("a")
        story.held(
            "a",
            pid=12 if hold == "another" else 11,
            step="effect_begin" if hold == "elsewhere" else "started",
        )
        if hold == "let go":
            story.let_go("a")
        if hold == "not held":
            story.events[-1].data["holds"] = False
        story.dies().runs("a", "worker-1+", pid=21)
        assert story.ends().counts().duplicate_executions == 1, hold


def test_what_never_began_is_lost_or_held_as_any_other() -> None:
    """It would not run again, but for the first time."""
    story = Story().publish("a").received("a").started("a").held("a").dies()
    assert fate(story.ends()) is Fate.LOST
    story = Story().publish("a").received("a").started("a").held("a").dies()
    assert fate(story.ends(story.unacked("a"))) is Fate.STRANDED
    assert counting.would_run_again(story.history()) == []

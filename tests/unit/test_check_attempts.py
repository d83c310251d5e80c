"""Checks on how often, and how much at once, a message's body was started."""

from __future__ import annotations

from harness.checks.attempts_at_most import attempts_at_most
from harness.checks.no_overlapping_executions import no_overlapping_executions
from harness.model import Outcome, Verdict
from tests.histories import Story


def tried(times: int) -> Story:
    """Started so often, and its process died each time."""
    story = Story().publish("a")
    for pid in range(11, 11 + times):
        story.received("a", redelivered=pid > 11).started("a", pid=pid).dies(pid=pid)
    return story


def test_as_many_attempts_as_allowed() -> None:
    """The limit itself holds; one more is told with the message and the number."""
    assert attempts_at_most(3).judge(tried(3).ends().history()).outcome is Outcome.HOLDS
    broken = attempts_at_most(3).judge(tried(5).ends().history())
    assert broken.outcome is Outcome.BROKEN
    assert broken.reasons[0].startswith("1 started more than 3 times, up to 5: a [")


def test_a_retry_is_a_message_of_its_own() -> None:
    """Celery's own retries are not attempts of one message."""
    story = Story()
    for retries in range(5):
        story.publish("a", retries=retries).runs("a", retries=retries)
    assert attempts_at_most(1).judge(story.ends().history()).outcome is Outcome.HOLDS


def test_the_next_attempt_is_not_seen_any_more() -> None:
    """At the limit, and the broker holds it; or nobody asked the broker."""
    story = tried(3)
    held = attempts_at_most(3).judge(story.ends(story.ready("a")).history())
    assert held.outcome is Outcome.UNKNOWN
    assert "would run again" in held.reasons[0]
    assert attempts_at_most(4).judge(story.history()).outcome is Outcome.HOLDS
    assert attempts_at_most(3).judge(tried(3).history()) == Verdict(
        Outcome.UNKNOWN, ("the broker could not be asked what it holds",)
    )


def test_overlap() -> None:
    """One after the other is a duplicate, and no overlap; two at once is."""
    apart = Story().publish("a").runs("a").runs("a").ends().history()
    assert no_overlapping_executions().judge(apart).outcome is Outcome.HOLDS
    story = Story().publish("a").started("a", pid=11).started("a", "worker-2", pid=21)
    story.finished("a", pid=11).finished("a", "worker-2", pid=21)
    broken = no_overlapping_executions().judge(story.ends().history())
    assert broken.outcome is Outcome.BROKEN
    assert broken.reasons[0].startswith("1 ran twice at the same time: a [")


def test_overlap_that_may_come() -> None:
    """It still runs, and the broker would give it to another; or nobody asked the broker."""
    story = Story().publish("a").received("a").started("a")
    going = no_overlapping_executions().judge(story.ends(story.unacked("a")).history())
    assert going == Verdict(Outcome.UNKNOWN, ("1 still ran, and would be delivered again",))
    alone = Story().publish("a").runs("a").history()
    assert no_overlapping_executions().judge(alone) == Verdict(
        Outcome.UNKNOWN, ("the broker could not be asked what it holds",)
    )
    held = Story().publish("a").runs("a")
    done = no_overlapping_executions().judge(held.ends(held.ready("a")).history())
    assert done.outcome is Outcome.HOLDS

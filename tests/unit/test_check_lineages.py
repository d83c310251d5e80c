"""Lineages: a message that is published twice goes on twice."""

from __future__ import annotations

from harness import checks, counting
from harness.checks.one_lineage import one_lineage
from harness.checks.outcome import outcome
from harness.model import MessageId, Outcome
from tests.histories import Story

HOLDS, BROKEN, UNKNOWN = Outcome.HOLDS, Outcome.BROKEN, Outcome.UNKNOWN


def says(story: Story) -> tuple[Outcome, str]:
    verdict = one_lineage().judge(story.history())
    assert (verdict.outcome is HOLDS) == (not verdict.reasons), "a reason, unless it holds"
    return verdict.outcome, "; ".join(verdict.reasons)


def retried() -> Story:
    """(a, 0) asks for another try, and (a, 1) ends well."""
    story = Story().publish("a").received("a").started("a").note("retry_published", "a")
    story.finished("a", state="RETRY").acked("a")
    return story.publish("a", retries=1).runs("a", retries=1)


def test_a_retry_is_no_duplicate_and_one_lineage() -> None:
    """Another message, published once; the check is written down and read."""
    story = retried().ends()
    assert story.counts().duplicate_executions == 0
    assert counting.lineages(story.history()) == {}
    assert says(story) == (HOLDS, "")
    assert outcome(lineages=1).judge(story.history()).outcome is HOLDS
    check = one_lineage()
    assert checks.load(checks.dump(check)) == check
    assert str(check) == "one lineage"


def test_a_retry_that_is_published_twice_is_two() -> None:
    """The original ran again, and retried once more."""
    story = retried().publish("a", retries=1).ends()
    assert counting.lineages(story.history()) == {MessageId("a", 1): 2}
    said, why = says(story)
    assert (said, why.startswith("1 published more than once: a retry 1 [")) == (BROKEN, True)
    assert outcome(lineages=2).judge(story.history()).outcome is HOLDS
    assert outcome(lineages=1).judge(story.history()).outcome is BROKEN


def test_a_publish_that_surely_failed_is_none() -> None:
    """And one whose end nobody knows is perhaps one: two such are not proved."""
    assert says(Story().publish("a", "fail").publish("a").runs("a").ends()) == (HOLDS, "")
    for story in (
        Story().publish("a", "info").publish("a").runs("a").ends(),
        Story().publish("a", "died").publish("a").runs("a").ends(),
    ):
        assert counting.lineages(story.history()) == {MessageId("a", 0): 2}
        assert counting.lineages(story.history(), sure=True) == {}
        said, why = says(story)
        assert (said, "or sent once after all: a [" in why) == (UNKNOWN, True)


def test_the_replaced_and_its_replacement_publish_side_by_side() -> None:
    """Two processes, one id, each publish once: the outcome belongs to its own process's."""
    story = Story()
    for kind, by, said in (
        ("publish_invoke", 501, {}),
        ("publish_invoke", 502, {"nesting": 1}),
        ("publish_ok", 501, {}),
        ("publish_ok", 502, {}),
    ):
        story.event(kind, "a", role="producer", by=by, **said)  # type: ignore[arg-type]
    assert counting.lineages(story.history(), sure=True) == {}
    assert counting.lineages(story.history()) == {}


def test_an_outcome_without_its_publish_proves_nothing() -> None:
    """Its beginning was not written: it may be that of the task which took a's place."""
    story = Story().publish("a").runs("a")
    story.event("publish_ok", "a", role="worker-1", by=11, events_missed_before=1).ends()
    assert counting.lineages(story.history(), sure=True) == {}
    assert says(story)[0] is UNKNOWN


def test_the_most_lineages_of_a_message_count() -> None:
    """Published thrice, and twice by the task that took its place."""
    for order in ((0, 1), (1, 0)):
        story = Story()
        for nesting in order:
            for _ in range(3 - nesting):
                story.publish("a", nesting=nesting)
        assert counting.lineages(story.history()) == {MessageId("a", 0): 3}


def test_a_task_that_took_anothers_place_is_another() -> None:
    """``Task.replace`` publishes under the same id; replaced twice over, it is two."""
    story = Story().publish("a").received("a").started("a").finished("a", state="IGNORED")
    story.acked("a").publish("a", nesting=1).runs("a")
    assert says(story.ends()) == (HOLDS, "")
    assert story.counts().duplicate_executions == 0
    assert counting.fates(story.history())[MessageId("a", 0)] == "once"
    assert counting.lineages(story.publish("a", nesting=1).history()) == {MessageId("a", 0): 2}


def test_what_would_publish_again() -> None:
    """A held message that has published its retry, or what follows it; any other may be held."""
    story = retried()
    said, why = says(story.ends(story.unacked("a", back_in_s=9)))
    assert (said, "would run again: a [" in why) == (UNKNOWN, True)
    story = Story().publish("a", follows=["b"]).runs("a").publish("b").runs("b")
    assert says(story.ends(story.ready("a")))[0] is UNKNOWN
    assert says(story.ends(story.ready("b")))[0] is HOLDS


def test_a_history_with_gaps() -> None:
    """What was not written may be the second publish."""
    assert says(Story().publish("a").runs("a"))[0] is UNKNOWN
    story = Story().publish("a").runs("a").event("started", "x", events_missed_before=1)
    assert says(story.ends())[0] is UNKNOWN

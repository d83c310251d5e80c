"""Results, and why one that differs proves nothing; and what is told of one that does."""

from __future__ import annotations

import pytest

from harness.checks.outcome import outcome
from harness.checks.results_readable import results_readable
from harness.model import Outcome
from tests.histories import CHILD, WORKER, Story

HOLDS, BROKEN, UNKNOWN = Outcome.HOLDS, Outcome.BROKEN, Outcome.UNKNOWN
LONG = "0123456789"


def says(story: Story) -> tuple[Outcome, str]:
    verdict = results_readable().judge(story.history())
    assert (verdict.outcome is HOLDS) == (not verdict.reasons), "a reason, unless it holds"
    return verdict.outcome, "; ".join(verdict.reasons)


def returned(result: str = "1", *, kept_by: str = "app") -> Story:
    return Story().publish("a").returns("a", result, kept_by=kept_by).ends()


@pytest.mark.parametrize("state", ["PENDING", "SUCCESS"])
def test_a_body_that_raised_and_does_not_read_so(state: str) -> None:
    """Who asks waits for ever, or is told that all is well."""
    said, why = says(Story().publish("a").raises("a").ends().reads(a=state))
    assert (said, why.endswith(f"is {state}, where its body ended in FAILURE")) == (BROKEN, True)


def test_both_ends_of_one_that_ran_twice_are_told() -> None:
    """It returned once and raised once, and reads as neither; or returned two values."""
    story = Story().publish("a").raises("a").returns("a", pid=12).ends()
    assert says(story.reads(a="STARTED"))[1].endswith("ended in FAILURE or SUCCESS")
    story = Story().publish("a").returns("a", "1").returns("a", "2").ends()
    assert says(story.reads(a="3"))[1].endswith("is 3, where it returned 1 or 2")


def test_an_original_that_runs_again_is_not_the_last_try() -> None:
    """(a, 0) asked for another try and (a, 1) returned: that is the result."""
    story = Story().publish("a").received("a").started("a").note("retry_published", "a")
    story.finished("a", state="RETRY").acked("a").publish("a", retries=1)
    story.returns("a", "5", retries=1).returns("a", "9", pid=12).ends()
    assert says(story.reads(a="5")) == (HOLDS, "")


def test_celerys_own_tasks_are_not_looked_for() -> None:
    """Nobody asks what the task that looks at a chord's headers came to."""
    story = Story().publish("look", task="celery.chord_unlock")
    data = {"result": "null", "kept_by": "app"}
    story.event(
        "returned",
        "look",
        role=WORKER,
        by=CHILD,
        task="celery.chord_unlock",
        **data,  # type: ignore[arg-type]
    )
    assert says(story.ends().reads(look="PENDING")) == (HOLDS, "")


def test_the_first_doubt_is_told() -> None:
    """After what differs: kept elsewhere, held, expired."""
    elsewhere = returned(kept_by="task").reads(a="PENDING")
    assert "SUCCESS: not every run of it keeps its result" in says(elsewhere)[1]
    story = Story().publish("a").returns("a")
    story.ends(story.ready("a")).reads(expires_s=1.0, a="PENDING")
    assert says(story)[1].endswith("SUCCESS: it is still held, and may run again")
    expired = returned().reads(expires_s=1.0, a="PENDING")
    assert says(expired)[1].endswith("SUCCESS: it may have expired")


def test_when_a_result_may_have_expired() -> None:
    """Returned at 10 s and read at 16 s: after 6 s. With no such time, or 0, it never does."""
    ended_s, read_s = 10, 16
    for expires_s, said in ((0.5, UNKNOWN), (6.0, UNKNOWN), (6.5, BROKEN), (0, BROKEN)):
        story = Story().publish("a").received("a").started("a").at(ended_s).returned("a")
        story.finished("a").acked("a").ends().at(read_s - 1).reads(expires_s=expires_s, a="PENDING")
        read, end = story.events[-1], next(e for e in story.events if e.kind == "returned")
        assert read.mono_s - end.mono_s == read_s - ended_s
        assert says(story)[0] is said, expires_s
    story = returned().reads(a="PENDING")
    story.events[-1].data["expires_s"] = None
    assert says(story)[0] is BROKEN


def test_a_result_that_was_read_without_its_value() -> None:
    """There is one; nobody knows which. Nor which of two, where JSON does not hold one."""
    said, why = says(returned().reads(a="SUCCESS"))
    assert (said, "SUCCESS" not in why) == (UNKNOWN, True)
    assert "] cannot be compared" in why
    assert why.endswith("JSON does not hold")
    assert says(returned("opaque:set").reads(a="1"))[0] is UNKNOWN


def test_long_values_and_ids_are_cut() -> None:
    """80 characters of a value, 8 of an id."""
    why = says(returned("1" * 100).reads(a="2" * 100))[1]
    assert why.endswith(f" is {'2' * 80}, where it returned {'1' * 80}")
    story = Story().publish(LONG).returns(LONG).ends()
    assert "the result of 01234567 was not read" in says(story.reads())[1]
    error = {"state": "", "error": "ValueError()"}
    story = Story().publish(LONG).ends().event("result_read", LONG, **error)  # type: ignore[arg-type]
    assert results_unread(story).startswith("the result of 01234567 could not be read")


def results_unread(story: Story) -> str:
    """What a claim on the states says of a result that could not be read."""
    verdict = outcome(results_success=1).judge(story.reads().history())
    assert verdict.outcome is UNKNOWN
    return verdict.reasons[0]

"""Results: the result backend gives what each task came to."""

from __future__ import annotations

import pytest

from harness import checks, results
from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.outcome import outcome
from harness.checks.results_readable import results_readable
from harness.model import Outcome
from harness.scenario import Scenario
from tests.histories import Story

HOLDS, BROKEN, UNKNOWN = Outcome.HOLDS, Outcome.BROKEN, Outcome.UNKNOWN


def says(story: Story) -> tuple[Outcome, str]:
    verdict = results_readable().judge(story.history())
    assert (verdict.outcome is HOLDS) == (not verdict.reasons), "a reason, unless it holds"
    return verdict.outcome, "; ".join(verdict.reasons)


def returned(result: str = "1", **how: str) -> Story:
    return Story().publish("a").returns("a", result, **how).ends()  # type: ignore[arg-type]


def test_results_that_can_be_read() -> None:
    """SUCCESS with the value that was returned, FAILURE where the body raised."""
    story = Story().publish("a").returns("a", "[1,2]").publish("b").raises("b").ends()
    assert says(story.reads(a="[1,2]", b="FAILURE")) == (HOLDS, "")
    claim = outcome(results_success=1, results_failure=1, results_pending=0, unreadable_results=0)
    assert claim.judge(story.history()).outcome is HOLDS
    check = results_readable()
    assert checks.load(checks.dump(check)) == check
    assert str(check) == "results readable"


@pytest.mark.parametrize("state", ["PENDING", "STARTED", "RETRY", "FAILURE"])
def test_a_result_that_is_not_there(state: str) -> None:
    """The task returned, and who asks is told that it is pending: for ever."""
    said, why = says(returned().reads(a=state))
    assert said is BROKEN
    assert why.endswith(f"is {state}, where its body ended in SUCCESS")


def test_another_value() -> None:
    """What was stored is not what was returned."""
    said, why = says(returned().reads(a="2"))
    assert (said, why.endswith("is 2, where it returned 1")) == (BROKEN, True)


def test_one_that_ran_twice() -> None:
    """Either value, and a failure of one of its runs."""
    story = Story().publish("a").returns("a", "1").returns("a", "2").ends()
    assert says(story.reads(a="2")) == (HOLDS, "")
    lost = Story().publish("a").received("a").started("a").dies(pid=11).failed("a")
    assert says(lost.returns("a", pid=12).ends().reads(a="FAILURE")) == (HOLDS, "")


def test_the_result_is_that_of_the_last_try() -> None:
    """A retry shares its task's id; while the last try did not end, nothing is expected."""
    story = Story().publish("a").received("a").started("a").note("retry_published", "a")
    story.finished("a", state="RETRY").acked("a").publish("a", retries=1)
    waiting = Story(baseline=False)
    waiting.events = list(story.events)
    assert says(waiting.at(90).ends(waiting.ready("a", retries=1)).reads(a="RETRY")) == (HOLDS, "")
    story.returns("a", "5", retries=1).ends()
    assert says(story.reads(a="5")) == (HOLDS, "")


def test_a_task_that_did_not_end_is_not_expected_to_have_one() -> None:
    """K7: lost with its worker, its result stays STARTED; a claim can say so."""
    story = Story().publish("a").received("a").acked("a").started("a").dies().ends()
    assert says(story.reads(a="STARTED")) == (HOLDS, "")
    assert outcome(lost=1, results_started=1).judge(story.history()).outcome is HOLDS
    assert outcome(results_started=0).judge(story.history()).outcome is BROKEN


def test_results_that_nobody_keeps() -> None:
    """Ignored: not looked for. Kept by a backend of the task's own: not known."""
    assert says(returned(kept_by="").reads(a="PENDING")) == (HOLDS, "")
    assert says(returned(kept_by="task").reads(a="PENDING"))[0] is UNKNOWN


def test_what_may_change_yet() -> None:
    """It is held and would run again, or it may have expired, or the drain was cut short."""
    story = Story().publish("a").returns("a")
    assert says(story.ends(story.ready("a")).reads(a="PENDING"))[0] is UNKNOWN
    assert says(returned().reads(expires_s=2.0, a="PENDING"))[0] is UNKNOWN
    short = Story().publish("a").returns("a").drained(settled=False).broker_holds()
    assert says(short.reads(a="PENDING"))[0] is UNKNOWN
    missed = Story().publish("a").returns("a").event("started", "x", events_missed_before=1)
    assert says(missed.ends().reads(a="1"))[0] is UNKNOWN


def test_results_that_were_not_read() -> None:
    """No backend, no answer, an error with one of them, one left out: all unknown, with why."""
    said, why = says(returned().event("results_not_read", why="the app has no result backend"))
    assert (said, why) == (UNKNOWN, "results were not read: the app has no result backend")
    said, why = says(returned())
    assert (said, why) == (UNKNOWN, "results were not read: the trial did not come to it")
    broken = returned().event("result_read", "a", state="", error="ValueError('half')")
    said, why = says(broken.reads())
    assert (said, "could not be read: ValueError('half')" in why) == (UNKNOWN, True)
    assert outcome(results_pending=0).judge(broken.history()).outcome is UNKNOWN
    assert says(returned().reads())[0] is UNKNOWN
    for claim in (outcome(unreadable_results=3), outcome(results_success=1)):
        verdict = claim.judge(returned().history())
        assert (verdict.outcome, len(verdict.reasons)) == (UNKNOWN, 1)
        assert verdict.reasons[0].startswith("results were not read")


def test_values_that_json_does_not_hold() -> None:
    """That there is a result is seen; which one is not."""
    assert says(returned("opaque:set").reads(a="opaque:set"))[0] is UNKNOWN


def test_which_results_are_asked_for() -> None:
    """Those of all tasks, and of the ones that were announced and never published; not those of
    Celery's own."""
    story = Story().chord("body", "a").publish("b", follows=["c"])
    story.publish("look", task="celery.chord_unlock")
    assert results.asked_for(story.history()) == ["a", "b", "body", "c"]
    unfollowed = Story().chord("group", "a", chord_is="group")
    assert results.asked_for(unfollowed.history()) == ["a"]


def test_who_has_results_read() -> None:
    """A scenario reads them only for a check that needs them."""
    assert Scenario(checks=[no_lost_tasks(), outcome(lost=0)]).needs == frozenset()
    for check in (results_readable(), outcome(results_started=1), outcome(unreadable_results=0)):
        assert Scenario(checks=[no_lost_tasks(), check]).needs == {"results"}

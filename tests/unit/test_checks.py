"""Each check on histories that hold it, break it, and leave it open."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from msgspec import Struct

from harness import checks
from harness.checks.duplicate_executions_at_most import duplicate_executions_at_most
from harness.checks.no_duplicate_effects import no_duplicate_effects
from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_stranded_tasks import no_stranded_tasks
from harness.checks.no_unexpected_tasks import no_unexpected_tasks
from harness.checks.recovers_within import recovers_within
from harness.history import History
from harness.model import MessageId, Outcome, UsageError, Verdict
from harness.protocols import Check
from harness.telling import tell, tell_some
from tests.histories import Story

HOLDS, BROKEN, UNKNOWN = Outcome.HOLDS, Outcome.BROKEN, Outcome.UNKNOWN
ALL: tuple[Check, ...] = (
    no_lost_tasks(),
    no_stranded_tasks(),
    no_unexpected_tasks(),
    no_duplicate_effects(),
    duplicate_executions_at_most(0),
    recovers_within(10),
)


def says(check: Check, story: Story) -> tuple[Outcome, str]:
    """The verdict and its only reason."""
    verdict = check.judge(story.history())
    assert (verdict.outcome is HOLDS) == (not verdict.reasons), "a reason, unless it holds"
    return verdict.outcome, "; ".join(verdict.reasons)


def probe_missed_some(story: Story) -> Story:
    return story.event("received", "a", role="worker-1", by=77, events_missed_before=1)


@pytest.mark.parametrize("check", ALL, ids=str)
def test_a_calm_trial_holds_everything(check: Check) -> None:
    """One message, published, run once, its effect there once, nothing left."""
    assert says(check, Story().publish("a").runs("a").effects("a").ends()) == (HOLDS, "")


@pytest.mark.parametrize("check", ALL, ids=str)
def test_a_check_survives_being_stored(check: Check) -> None:
    """Written beside the history and loaded again, a check is the same value."""
    loaded = checks.load(checks.dump(check))
    assert loaded == check
    assert str(loaded) == str(check)


@pytest.mark.parametrize("name", ["os:system", ".x:y", "", "no_such_check", "tests.evil:Evil"])
def test_nothing_of_a_stranger_is_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run folder may come from anybody: what it names is looked up, and never imported."""
    monkeypatch.setattr("harness.checks.import_module", lambda at: pytest.fail(f"imported {at}"))
    with pytest.raises(UsageError) as caught:
        checks.load({"check": name, "params": {}})
    assert caught.value.mend


@pytest.mark.parametrize("name", ["harness.checks.gone:Gone", "harness.checks.no_lost_tasks:Gone"])
def test_a_check_that_cannot_be_loaded_is_named(name: str) -> None:
    """One sentence that says which check, and what to do."""
    with pytest.raises(UsageError, match="Gone") as caught:
        checks.load({"check": name, "params": {}})
    assert caught.value.mend


def test_a_check_of_ones_own_is_found_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under the entry points of a distribution; one in a test file is judged there, and stored
    with a name that nobody looks up."""
    mine = Mine(limit=3)
    assert checks.dump(mine) == {"check": f"{__name__}:Mine", "params": {"limit": 3}}
    with pytest.raises(UsageError, match="not one that is installed"):
        checks.load(checks.dump(mine))
    point = EntryPoint("mine", f"{__name__}:Mine", checks.ENTRY_POINTS)
    monkeypatch.setattr(EntryPoint, "load", lambda _: Mine)
    monkeypatch.setattr(
        "harness.checks.entry_points",
        lambda **which: [point] if which.get("name", "mine") == "mine" else [],
    )
    assert checks.dump(mine) == {"check": "mine", "params": {"limit": 3}}
    assert checks.load(checks.dump(mine)) == mine


class Mine(Struct, frozen=True):
    """Somebody's own check."""

    limit: int

    def judge(self, history: History) -> Verdict:
        del history
        return Verdict(HOLDS)

    def __str__(self) -> str:
        return "mine"


# -- lost --------------------------------------------------------------------------------


def test_a_lost_message_breaks_and_is_told() -> None:
    """The reason says how many, and the first ones' lives."""
    story = Story().publish("aaaaaaaa-1").received("aaaaaaaa-1").acked("aaaaaaaa-1")
    outcome, why = says(no_lost_tasks(), story.ends())
    assert outcome is BROKEN
    assert why == "1 lost: aaaaaaaa [publish ok +1.00 s, received +2.00 s, acked +3.00 s]"


@pytest.mark.parametrize("outcome", ["info", "died"])
def test_an_indeterminate_message_that_never_ran_is_unknown(outcome: str) -> None:
    """It may never have been sent: neither lost nor safe."""
    verdict, why = says(no_lost_tasks(), Story().publish("a", outcome).ends())
    assert verdict is UNKNOWN
    assert why.startswith("1 of indeterminate publish were never completed: a [")


def test_indeterminate_but_run_or_held_is_no_loss() -> None:
    """It arrived after all; and what failed for sure is nobody's loss."""
    story = Story().publish("a", "info").publish("b", "info").publish("c", "fail").runs("a")
    assert says(no_lost_tasks(), story.ends(story.ready("b")))[0] is HOLDS


def test_a_lost_message_outweighs_an_indeterminate_one() -> None:
    """Broken dominates unknown within a check too."""
    story = Story().publish("a", "info").publish("b").ends()
    assert says(no_lost_tasks(), story)[0] is BROKEN


def test_a_loss_that_cannot_be_proved_is_unknown() -> None:
    """The broker was not asked, cannot name what it holds, or a probe could not write."""
    asked_nobody = Story().publish("a").drained()
    assert says(no_lost_tasks(), asked_nobody) == (
        UNKNOWN,
        "the broker could not be asked what it holds",
    )
    nameless = Story().publish("a").drained().broker_holds(unnamed=2)
    assert says(no_lost_tasks(), nameless) == (
        UNKNOWN,
        "the broker holds 0 ready and 2 unacknowledged messages, of which only 0 could be named",
    )
    missed = probe_missed_some(Story().publish("a").ends())
    assert says(no_lost_tasks(), missed) == (
        UNKNOWN,
        "the probe of pid 77 could not write some of its events",
    )


# -- stranded ----------------------------------------------------------------------------


def test_a_stranded_message_breaks_with_its_return() -> None:
    """The reason says where the last one is, and when it comes back."""
    story = Story().publish("a").publish("b").publish("c")
    soon = story.unacked("a", back_in_s=60)
    late = story.unacked("b", back_in_s=3700, why="visibility timeout")
    assert says(no_stranded_tasks(), story.ends(soon, late, story.ready("c"))) == (
        BROKEN,
        "3 stranded: the last is unacked, back within 3700 s (visibility timeout)",
    )


def test_a_stranded_message_without_a_time() -> None:
    """Ready, or held by a consumer for as long as it lives: no time is claimed."""
    story = Story().publish("a")
    assert says(no_stranded_tasks(), story.ends(story.ready("a"))) == (
        BROKEN,
        "1 stranded: the last is ready, with no time set for its return",
    )


def test_a_lost_message_is_not_stranded() -> None:
    """Each claim for itself."""
    assert says(no_stranded_tasks(), Story().publish("a").ends())[0] is HOLDS


def test_what_a_trial_did_not_wait_for_is_not_stranded() -> None:
    """It gave up before the horizon, or was cut off: the message may have been on its way."""
    story = Story().publish("a")
    story.drained(settled=False, why="no progress for 5 s").broker_holds(story.ready("a"))
    assert says(no_stranded_tasks(), story) == (
        UNKNOWN,
        "the drain ended unsettled: no progress for 5 s",
    )
    story = Story().publish("a")
    assert says(no_stranded_tasks(), story.broker_holds(story.ready("a"))) == (
        UNKNOWN,
        "the trial did not get to the end of its drain",
    )


def test_nothing_seen_is_not_nothing_stranded() -> None:
    """A broker that was not asked may hold anything; a named one is stranded all the same."""
    assert says(no_stranded_tasks(), Story().publish("a").drained())[0] is UNKNOWN
    story = Story().publish("a").drained()
    assert says(no_stranded_tasks(), story.broker_holds(story.ready("a"), unnamed=1))[0] is BROKEN
    story = Story().publish("a").runs("a")
    probe_missed_some(story).ends(story.ready("a"))
    assert says(no_stranded_tasks(), story)[0] is UNKNOWN


# -- twice -------------------------------------------------------------------------------


def test_duplicates_up_to_the_limit_hold() -> None:
    """Two ran twice: two are allowed, one is not."""
    story = Story().publish("a").publish("b")
    story.runs("a").runs("a", pid=12).runs("b").runs("b", pid=12).ends()
    assert says(duplicate_executions_at_most(2), story)[0] is HOLDS
    outcome, why = says(duplicate_executions_at_most(1), story)
    assert outcome is BROKEN
    assert why.startswith("2 ran more than once: a [")


def test_a_duplicate_that_is_still_to_come_is_unknown() -> None:
    """It ran once and the broker would offer it again: within the limit only if that is."""
    story = Story().publish("a").publish("b").runs("a").started("b", pid=12).dies(pid=12)
    story.ends(story.unacked("a"), story.unacked("b"))
    assert says(duplicate_executions_at_most(2), story)[0] is HOLDS
    assert says(duplicate_executions_at_most(1), story) == (
        UNKNOWN,
        "2 that ran are still held by the broker and would run again",
    )


def test_a_duplicate_that_would_run_once_more_is_one_duplicate() -> None:
    """Messages are counted, not runs."""
    story = Story().publish("a").runs("a").runs("a", pid=12)
    assert says(duplicate_executions_at_most(1), story.ends(story.unacked("a")))[0] is HOLDS


def test_a_held_message_that_never_ran_is_no_duplicate() -> None:
    """It will run for the first time."""
    story = Story().publish("a")
    assert says(duplicate_executions_at_most(0), story.ends(story.ready("a")))[0] is HOLDS


def test_duplicates_with_gaps_are_unknown() -> None:
    """Nobody knows what would run again."""
    story = Story().publish("a").runs("a").drained()
    assert says(duplicate_executions_at_most(5), story)[0] is UNKNOWN


def test_a_doubled_effect_breaks() -> None:
    """Applied twice; a second run without a second effect is no harm."""
    story = Story().publish("a").runs("a").runs("a", pid=12).ends()
    assert says(no_duplicate_effects(), story.effects("a"))[0] is HOLDS
    outcome, why = says(no_duplicate_effects(), story.effects("a"))
    assert outcome is BROKEN
    assert why.startswith("1 effects applied twice: a [")


def test_effects_that_nobody_read_are_unknown() -> None:
    """No way to read them: no claim."""
    outcome, why = says(no_duplicate_effects(), Story().publish("a").runs("a").ends())
    assert outcome is UNKNOWN
    assert "effects were not read" in why


def test_effects_that_could_not_be_read_say_why() -> None:
    """The command is there, and failed: that is the cause, not that there is none."""
    story = Story().publish("a").runs("a").ends()
    story.event("effects_failed", why="the effects command failed (status 1): no such table")
    outcome, why = says(no_duplicate_effects(), story)
    assert outcome is UNKNOWN
    assert why == ("effects were not read: the effects command failed (status 1): no such table")


def test_an_effect_that_may_be_doubled_later_is_unknown() -> None:
    """Charged, killed, and still with the broker: it will be charged again. One that was
    killed before its charge will not."""
    story = Story().publish("a").started("a").effect("a").dies(pid=11)
    story.ends(story.unacked("a", back_in_s=3600))
    assert says(no_duplicate_effects(), story.effects())[0] is HOLDS
    outcome, why = says(no_duplicate_effects(), story.effects("a"))
    assert (outcome, why) == (
        UNKNOWN,
        "1 whose effect was applied are still held and would run again",
    )


def test_effects_with_gaps_are_unknown() -> None:
    """Nobody knows what would be applied again."""
    story = Story().publish("a").runs("a").effects("a").drained()
    assert says(no_duplicate_effects(), story)[0] is UNKNOWN


# -- unexpected --------------------------------------------------------------------------


def test_a_stranger_breaks() -> None:
    """Something ran that nobody published."""
    outcome, why = says(no_unexpected_tasks(), Story().runs("x").ends())
    assert outcome is BROKEN
    assert why.startswith("1 ran that nobody published: x [")


def test_a_stranger_may_be_a_publish_that_was_not_written() -> None:
    """When a probe could not write, its publish may be among what is missing."""
    assert says(no_unexpected_tasks(), probe_missed_some(Story().runs("x").ends()))[0] is UNKNOWN


# -- recovery ----------------------------------------------------------------------------


def recovered(after_s: float) -> Story:
    story = Story().publish("a").publish("b").at(20).fires().at(21).started("a", pid=12)
    return story.at(20 + after_s).finished("a", pid=12)


def test_recovery_in_time() -> None:
    """Ten seconds are allowed, and not a moment more; no rounding helps."""
    assert says(recovers_within(10), recovered(10).ends())[0] is HOLDS
    assert says(recovers_within(10), recovered(10.0004).ends())[0] is BROKEN
    assert says(recovers_within(10), recovered(12.25).ends()) == (
        BROKEN,
        "recovered after 12.2 s, not 10 s",
    )


def test_no_recovery_while_work_waits_breaks() -> None:
    """A message is ready, and nobody took it."""
    story = Story().publish("a").fires()
    assert says(recovers_within(10), story.ends(story.ready("a"))) == (
        BROKEN,
        "nothing was completed after the fault",
    )


def test_no_recovery_with_nothing_to_do_is_unknown() -> None:
    """Everything was done or lost before the fault was over: nothing could show it."""
    for story in (Story().publish("a").runs("a").fires(), Story().publish("a").fires()):
        assert says(recovers_within(10), story.ends()) == (
            UNKNOWN,
            "nothing was left to run after the fault",
        )


def test_recovery_with_missing_events_is_unknown_unless_seen() -> None:
    """A recovery that is in the history is one; that it was late may be for want of events."""
    assert says(recovers_within(10), probe_missed_some(recovered(5).ends()))[0] is HOLDS
    assert says(recovers_within(10), probe_missed_some(recovered(15).ends()))[0] is UNKNOWN


# -- telling -----------------------------------------------------------------------------


def test_a_life_is_told_in_order_with_its_deaths() -> None:
    """Times count from the first publish; a retry says which."""
    story = Story().at(10).publish("a", retries=2).started("a", retries=2)
    story.at(15.5).dies(pid=11).effects()
    assert tell(story.history(), MessageId("a", 2)) == (
        "a retry 2 [publish ok +1.00 s, started +2.00 s, its process 11 died +5.50 s]"
    )


def test_what_nobody_did_is_not_told() -> None:
    """The invoke, the entry into the effect, and the store's own line are left out."""
    story = Story().publish("a", "died").event("effect_begin", "a").effects("a")
    assert tell(story.history(), MessageId("a", 0)) == "a []"


def test_only_the_first_few_are_told() -> None:
    """Two lives, and how many more there are."""
    messages = [MessageId(name, 0) for name in "abcd"]
    history = Story().history()
    assert tell_some(history, messages[:2]) == "a []; b []"
    assert tell_some(history, messages[:3]) == "a []; b []; and 1 more"
    assert tell_some(history, messages) == "a []; b []; and 2 more"

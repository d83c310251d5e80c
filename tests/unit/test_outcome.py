"""A known outcome: what is proved by a history, and what is not."""

from __future__ import annotations

import pytest

from harness.checks.outcome import KnownOutcome, Numbers, outcome
from harness.model import Outcome, UsageError
from tests.histories import LEADER, Story

HOLDS, BROKEN, UNKNOWN = Outcome.HOLDS, Outcome.BROKEN, Outcome.UNKNOWN


def of(story: Story, **numbers: object) -> Outcome:
    claim: KnownOutcome = outcome(**numbers)  # type: ignore[arg-type]
    return claim.judge(story.history()).outcome


def killed(*, landed: bool = True) -> Story:
    """Two messages; under one its process is killed, having acknowledged it."""
    story = Story().publish("a").publish("b").runs("b")
    index = story.planned()
    story.received("a").acked("a").started("a").fires(index)
    if landed:
        story.dies(pid=11).done(index, victims=[11])
    else:
        story.done(index, landed=False, why_not="it had ended").dies(pid=11)
    return story


def test_numbers_as_known() -> None:
    """Each within its bounds."""
    story = killed().ends()
    assert of(story, lost=1, completed=1, stranded=0, duplicate_executions=0) is HOLDS
    assert of(story, lost=(1, 3), completed=(0, 1), starts=1, ends=1) is HOLDS


@pytest.mark.parametrize(
    "numbers", [{"lost": 0}, {"lost": (2, 3)}, {"completed": 2}, {"stranded": 1}, {"starts": 2}]
)
def test_a_number_that_is_otherwise(numbers: Numbers) -> None:
    """Broken, whichever it is and on whichever side; the reason has both."""
    verdict = outcome(**numbers).judge(killed().ends().history())
    assert verdict.outcome is BROKEN
    (name,) = numbers
    assert verdict.reasons[0].startswith(f"{name} is ")
    assert ", not " in verdict.reasons[0]


def test_starts_and_ends_are_of_the_most_started() -> None:
    """The other messages say nothing of it."""
    story = Story().publish("a").publish("b").runs("b")
    story.received("a").started("a").dies(pid=11).rejected("a").runs("a", pid=12).ends()
    assert of(story, starts=2, ends=1) is HOLDS
    assert of(story, ends=2) is BROKEN


def test_without_its_fault_nothing_is_known() -> None:
    """A fault that did not land: a count that came out otherwise breaks nothing, and one that came
    out as claimed proves nothing either; the trial is in doubt by itself."""
    story = killed(landed=False).ends()
    assert of(story, completed=2) is UNKNOWN
    assert story.verdict(outcome(completed=1)).outcome is UNKNOWN


def test_more_harm_than_claimed_is_broken_all_the_same() -> None:
    """Whatever became of the fault: lost is lost."""
    assert of(killed(landed=False).ends(), lost=0) is BROKEN
    assert of(killed(landed=False).ends(), lost=2) is UNKNOWN


def test_a_history_with_gaps_proves_only_what_it_shows() -> None:
    """What was started twice was; what seems not to have been may have been."""
    story = Story().publish("a").runs("a").runs("a").drained().broker_holds(unnamed=1)
    assert of(story, duplicate_executions=0) is BROKEN
    assert of(story, duplicate_executions=1) is UNKNOWN
    assert of(story, stranded=0) is UNKNOWN
    assert of(Story().publish("a").runs("a"), completed=1) is UNKNOWN


def test_what_is_held_will_add_to_it() -> None:
    """A message that comes back will be run: unless the claim speaks of it, nobody knows yet."""
    story = Story().publish("a").received("a").started("a").dies(pid=LEADER)
    story.ends(story.unacked("a", back_in_s=60.0))
    assert of(story, completed=0) is UNKNOWN
    assert of(story, completed=0, stranded=1) is HOLDS
    assert of(story, starts=1) is UNKNOWN
    assert of(story, starts=1, stranded=1) is HOLDS


def test_a_publish_that_may_have_been_sent() -> None:
    """Perhaps lost, perhaps never there."""
    story = Story().publish("a", "info").publish("b").runs("b").ends()
    assert of(story, lost=0) is UNKNOWN
    assert of(story, lost=(0, 1)) is HOLDS
    assert of(story, lost=(2, 3)) is BROKEN


def test_effects_that_nobody_read() -> None:
    """A claim about them is not known to hold."""
    story = Story().publish("a").runs("a")
    assert of(story.ends(), duplicate_effects=0) is UNKNOWN
    read = Story().publish("a").runs("a").effects("a", "a").ends()
    assert of(read, duplicate_effects=1) is HOLDS


def test_a_claim_that_is_none() -> None:
    """Refused when the scenario is written: no count, an unknown one, a range upside down."""
    with pytest.raises(UsageError, match="claims nothing"):
        outcome()
    with pytest.raises(UsageError, match="Did you mean stranded"):
        outcome(strand=1)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="a range is"):
        outcome(lost=(3, 1))


def test_it_says_what_it_claims() -> None:
    """For the report."""
    assert str(outcome(lost=1, starts=(3, 5))) == "lost 1, starts 3 to 5"

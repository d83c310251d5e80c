"""The counting against a second opinion, and what no change of a history may do to it."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import counting
from harness.checks.duplicate_executions_at_most import duplicate_executions_at_most
from harness.checks.no_duplicate_effects import no_duplicate_effects
from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_stranded_tasks import no_stranded_tasks
from harness.checks.no_unexpected_tasks import no_unexpected_tasks
from harness.checks.recovers_within import recovers_within
from harness.counting import count
from harness.history import History
from harness.model import MessageId
from harness.protocols import Check
from tests import reference_checks as slow
from tests.histories import Story
from tests.reference import know, reference
from tests.searching import examples
from tests.stories import MESSAGES, Tale, stories, told


@settings(max_examples=examples(400))
@given(stories)
def test_both_count_the_same(story: Tale) -> None:
    """Two implementations that share nothing agree on every count."""
    events = told(story)
    assert msgspec.structs.asdict(count(History(events))) == reference(events)


@settings(max_examples=examples(400))
@given(stories)
def test_both_say_the_same_of_every_message(story: Tale) -> None:
    """Its fate; and how long it took until work went on."""
    events = told(story)
    history, known = History(events), know(events)
    fates = counting.fates(history)
    for message in known.fates:
        assert fates.pop(MessageId(*message)) == known.became(message)
    assert not fates
    assert counting.recovery_s(history) == known.recovery


@settings(max_examples=examples(400))
@given(stories, st.integers(0, 3), st.sampled_from([1.0, 3.0, 8.0]))
def test_both_judge_the_same(story: Tale, limit: int, s: float) -> None:
    """Each check against a slow and obvious one."""
    events = told(story)
    history, known = History(events), know(events)
    claims: list[tuple[Check, str]] = [
        (no_lost_tasks(), slow.no_lost_tasks(known)),
        (no_stranded_tasks(), slow.no_stranded_tasks(known)),
        (no_unexpected_tasks(), slow.no_unexpected_tasks(known)),
        (no_duplicate_effects(), slow.no_duplicate_effects(known)),
        (
            duplicate_executions_at_most(limit),
            slow.duplicate_executions_at_most(known, limit),
        ),
        (recovers_within(s), slow.recovers_within(known, s)),
    ]
    for check, expected in claims:
        assert (str(check), check.judge(history).outcome.value) == (str(check), expected)


@settings(max_examples=examples(100))
@given(stories, st.randoms(use_true_random=False))
def test_the_order_of_the_lines_changes_no_count(story: Tale, random: Random) -> None:
    """Files are read in any order; also events of one and the same moment."""
    events = told(story)
    coarse = [msgspec.structs.replace(event, mono_s=event.mono_s // 2) for event in events]
    for version in (events, coarse):
        shuffled = list(version)
        random.shuffle(shuffled)
        assert count(History(shuffled)) == count(History(version))


@settings(max_examples=examples(100))
@given(stories, st.floats(-1e9, 1e9))
def test_the_wall_clock_changes_no_count(story: Tale, shift_s: float) -> None:
    """``at_s`` is for people."""
    events = told(story)
    shifted = [msgspec.structs.replace(event, at_s=event.at_s + shift_s) for event in events]
    assert count(History(shifted)) == count(History(events))


@settings(max_examples=examples(100))
@given(stories, st.sampled_from(MESSAGES), st.sampled_from(["cut off", "ended"]))
def test_one_more_run_never_takes_a_duplicate_away(
    story: Tale, message: tuple[str, int], how: str
) -> None:
    """A further execution, in a process of its own, lowers neither the duplicates nor the
    completed, the overlapping or the unexpected; and loses nothing."""
    events = told(story)
    before = count(History(events))
    more = Story()
    more.events = list(events)
    more.wait(1000).received(message[0], "worker-3", retries=message[1])
    more.started(message[0], "worker-3", pid=31, retries=message[1])
    if how == "ended":
        more.finished(message[0], "worker-3", pid=31, retries=message[1])
    after = more.counts()
    assert after.duplicate_executions >= before.duplicate_executions
    assert after.overlapping_executions >= before.overlapping_executions
    assert after.completed >= before.completed
    assert after.unexpected >= before.unexpected
    assert after.lost <= before.lost


@settings(max_examples=examples(100))
@given(stories)
def test_every_message_has_at_most_one_fate(
    story: Tale,
) -> None:
    """Publishes split three ways; completed, lost and stranded exclude each other."""
    counts = count(History(told(story)))
    assert counts.attempted == counts.confirmed + counts.rejected + counts.indeterminate
    assert counts.completed + counts.lost + counts.stranded <= counts.attempted
    assert counts.overlapping_executions <= counts.duplicate_executions
    assert counts.late <= counts.completed

"""Where two readings of a history lie close to each other: events of one moment, names used
again, and what nobody wrote."""

from __future__ import annotations

import pytest

from harness import counting
from harness.history import History
from harness.judge import judge
from harness.model import Counts, Held, MessageId, Outcome
from tests.histories import LEADER, MAIN, START_S, TASK, WORKER, Story

A, B = MessageId("a", 0), MessageId("b", 0)


# -- nothing, and half of it -------------------------------------------------------------


def test_zero_events() -> None:
    """An empty file: nothing is counted, nothing lasted, and it is no trial that holds."""
    history = History([])
    assert counting.count(history) == Counts()
    assert counting.timings(history).trial_s == 0.0
    assert judge(history, []).verdict.outcome is Outcome.UNKNOWN


def test_a_run_carries_its_name() -> None:
    """The task's registered name is that of its start."""
    (run,) = Story().started("a").finished("a").history().executions
    assert run.task == TASK


def test_a_start_of_nothing_hides_no_other() -> None:
    """One that names no task is passed over; what comes later is read."""
    story = Story().event("started", role=WORKER, by=MAIN).started("a").finished("a")
    (run,) = story.history().executions
    assert (run.message, run.open) == (A, False)


def test_files_that_say_the_same_twice_are_two_runs() -> None:
    """A probe's events copied into a second file: each line is an event of its own, so the
    message ran twice as far as anybody can tell. The reader must not read a file twice."""
    story = Story().publish("a").runs("a").ends()
    twice = History([*story.events, *story.events])
    assert counting.count(twice).attempted == 1
    assert counting.duplicates(twice) == [A]


# -- publishes that nobody can be sure of ------------------------------------------------


def test_an_indeterminate_publish_that_ran_was_sent() -> None:
    """Completed, and expected: the publish was attempted. Its promise stays what it was."""
    story = Story().publish("a", "info").runs("a").ends()
    counts = story.counts()
    assert (counts.indeterminate, counts.completed, counts.unexpected) == (1, 1, 0)
    assert counting.fates(story.history())[A] == "once"


def test_a_rejected_publish_that_ran_all_the_same() -> None:
    """The client said that it surely failed, and the message ran: completed, and neither
    unexpected nor lost. It stays rejected: that is what the producer was told."""
    story = Story().publish("a", "fail").runs("a").ends()
    counts = story.counts()
    assert (counts.attempted, counts.rejected, counts.completed) == (1, 1, 1)
    assert (counts.unexpected, counts.lost, counts.stranded) == (0, 0, 0)


def test_a_rejected_publish_that_was_cut_off_is_not_lost() -> None:
    """It ran, was killed, and is gone; but nobody had promised it."""
    story = Story().publish("a", "fail").received("a").acked("a").started("a").dies(pid=11)
    assert story.ends().counts().lost == 0
    assert counting.fates(story.history())[A] == "unknown"


def test_a_rejected_publish_that_ran_is_still_held() -> None:
    """The broker has what surely was not sent, and it has run: it would run again."""
    story = Story().publish("a", "fail").runs("a")
    story.ends(story.ready("a"))
    assert (story.counts().redelivery_pending, story.counts().stranded) == (1, 0)


# -- acked, and with the broker all the same ---------------------------------------------


def test_acked_and_still_with_the_broker() -> None:
    """Its ack was written, and never reached the broker: it is held, and will run again."""
    story = Story().publish("a").runs("a")
    story.ends(story.unacked("a", back_in_s=60))
    assert (story.counts().redelivery_pending, story.counts().completed) == (1, 1)
    assert counting.fates(story.history())[A] == "pending"


def test_acked_cut_off_and_still_with_the_broker_is_stranded() -> None:
    """The broker's word outweighs the worker's: it is there, so it is not lost."""
    story = Story().publish("a").received("a").acked("a").started("a").dies(pid=11)
    story.ends(story.unacked("a", back_in_s=60))
    assert (story.counts().stranded, story.counts().lost) == (1, 0)
    assert counting.would_run_again(story.history()) == [A]


def test_settled_and_unnamed_may_be_what_the_broker_holds() -> None:
    """It cannot name the one it holds: with nobody else left, that is an acked message whose
    ack went astray, and nobody says which. So nothing is proved lost."""
    story = Story().publish("a").runs("a").drained().broker_holds(unnamed=1)
    view = counting.final_view(story.history())
    assert view is not None
    assert not view.named
    assert counting.fates(story.history())[A] == "unknown"


def test_names_found_by_elimination_are_names() -> None:
    """The view says so itself, and how they were found."""
    story = Story().publish("a").drained().broker_holds(unnamed=1)
    view = counting.final_view(story.history())
    assert view is not None
    assert view.named
    (found,) = view.held
    assert (found.task_id, found.retries, found.back_at_s) == ("a", 0, None)
    assert found.why == "handed out and never received: named because no other message is left"


def test_what_a_worker_still_runs_is_named_with_it() -> None:
    """Message, place and reason; a worker sets no time."""
    story = Story().publish("a", retries=2).started("a", retries=2).acked("a", retries=2).ends()
    assert counting.held(story.history()) == {
        MessageId("a", 2): Held("a", 2, "worker", None, "still running")
    }


# -- after the drain ---------------------------------------------------------------------


def test_what_starts_after_the_drain_counts_as_started() -> None:
    """A worker that is being stopped takes one more: it is a second start, and no loss."""
    story = Story().publish("a").runs("a").drained().started("a", pid=12).dies().broker_holds()
    assert story.counts().duplicate_executions == 1
    story = Story().publish("a").drained().started("a").dies(pid=11).broker_holds()
    assert (story.counts().lost, story.counts().stranded) == (0, 1)


def test_a_body_that_did_its_part_after_the_drain_is_complete() -> None:
    """Returned while it was being stopped, and then killed."""
    story = Story().publish("a").started("a").drained().note("returned", "a").dies()
    assert story.broker_holds().counts().completed == 1


# -- returned, and dead before it was finished -------------------------------------------


@pytest.mark.parametrize("acked", [True, False])
def test_killed_between_returned_and_finished(acked: bool) -> None:  # noqa: FBT001
    """Complete; acked late it comes back, and then it is a duplicate, not a completion more."""
    story = Story().publish("a").received("a")
    if acked:
        story.acked("a")
    story.started("a").note("returned", "a").dies()
    if acked:
        assert story.ends().counts().completed == 1
        return
    story.runs("a", "worker-1+", pid=21).ends()
    counts = story.counts()
    assert (counts.completed, counts.duplicate_executions, counts.lost) == (1, 1, 0)


# -- a pid used again, a worker under its old name ---------------------------------------


def test_a_pid_used_by_two_workers_at_once() -> None:
    """Two machines: the same message in the same pid, each with its own end."""
    story = Story().publish("a").started("a", pid=11).started("a", "worker-2", pid=11)
    story.finished("a", "worker-2", pid=11).dies(pid=11)
    first, second = story.ends().history().executions
    assert first.cut_off_s is not None
    assert second.finished_s is not None
    assert story.counts().overlapping_executions == 1


def test_overlapping_runs_in_one_pid() -> None:
    """A pool of threads: two runs of one message, one process, going at once."""
    story = Story().publish("a").started("a").started("a").finished("a").finished("a").ends()
    assert story.counts().overlapping_executions == 1
    story = Story().publish("a").started("a").finished("a").started("a").finished("a").ends()
    assert story.counts().overlapping_executions == 0


def test_threads_that_die_together() -> None:
    """Both runs of the process are cut off at its death, and both had begun before it."""
    story = Story().publish("a").started("a").started("a").at(20).dies(pid=11).ends()
    assert [run.cut_off_s for run in story.history().executions] == [START_S + 20] * 2
    assert story.counts().overlapping_executions == 1


def test_an_end_at_the_moment_of_the_death_is_that_of_the_first() -> None:
    """A finish and the death of its process, dated alike: what was written came before, so of
    two runs the first has ended and the second was cut off."""
    story = Story().at(10).started("a").at(11).started("a")
    story.at(20).finished("a").at(20).dies(pid=11)
    first, second = story.history().executions
    assert (first.finished_s, second.cut_off_s) == (START_S + 20, START_S + 20)


def test_the_first_end_of_a_message_whichever_run_began_first() -> None:
    """The one that began first ended first; the other came after it."""
    story = Story().publish("a").at(10).started("a").started("a", pid=12)
    story.at(20).finished("a").at(30).finished("a", pid=12)
    assert counting.completed(story.ends().history()) == {A: START_S + 20}


# -- events of one moment ----------------------------------------------------------------


def late_with(story: Story) -> int:
    """Whether it is late, once it has run in worker-1 a minute after its publish."""
    return story.finished("a").ends().counts().late


def test_received_at_the_moment_of_its_start() -> None:
    """The receipt comes first: the run is that of this delivery."""
    story = (
        Story(late_after_s=3)
        .publish("a")
        .at(70)
        .event("received", "a", role=WORKER, by=MAIN, redelivered=True)
    )
    assert late_with(story.at(70).started("a")) == 1


def test_received_at_the_moment_of_the_break() -> None:
    """The receipt comes first, so it is forgotten with the connection."""
    story = Story(late_after_s=3).publish("a").at(10).received("a")
    story.at(10).event("connection_lost", role=WORKER, by=MAIN).at(20).received("a")
    assert late_with(story.at(70).started("a")) == 1


@pytest.mark.parametrize("how", ["connection", "death"])
def test_started_at_the_moment_of_the_break(how: str) -> None:
    """The start comes first: nothing was forgotten by then, and the run is of the first of the
    two deliveries."""
    story = Story(late_after_s=3).publish("a").received("a").received("a").at(70).started("a")
    story.at(70)
    if how == "death":
        story.dies(pid=LEADER)
    else:
        story.event("connection_lost", role=WORKER, by=MAIN)
    assert late_with(story) == 0


# -- seconds -----------------------------------------------------------------------------


def test_work_is_added_up_over_messages() -> None:
    """Two messages of four and of two seconds and a bit, and a third one cut off: to the
    millisecond."""
    story = Story().publish("a").publish("b").publish("c")
    story.at(10).started("a").at(14.2504).finished("a")
    story.at(20).started("b").at(22.5).finished("b")
    story.at(30).started("c").at(31.1254).dies(pid=11).at(50.7504).drained()
    times = counting.timings(story.history())
    assert (times.useful_work_s, times.wasted_work_s) == (6.75, 1.125)
    assert times.trial_s == 49.75

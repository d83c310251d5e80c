"""From events to executions: what ran where, from when to when, and what cut it off."""

from __future__ import annotations

import pytest

from harness.history import Execution, History
from harness.model import MessageId
from tests.histories import MAIN, START_S, WALL_S, Story

A = MessageId("a", 0)


def only(story: Story) -> Execution:
    (run,) = story.history().executions
    return run


def test_a_run_is_paired_with_its_end() -> None:
    """A start and the finish of the same process and message are one execution that ended."""
    run = only(Story().at(10).started("a").at(12).finished("a"))
    assert (run.message, run.role, run.pid) == (A, "worker-1", 11)
    assert (run.started_s, run.finished_s, run.cut_off_s) == (START_S + 10, START_S + 12, None)
    assert not run.open


def test_a_failed_body_has_run_to_its_end() -> None:
    """A body that raised, or asked for a retry, ended by itself."""
    for state in ("FAILURE", "RETRY", "REJECTED", "IGNORED"):
        assert only(Story().started("a").finished("a", state=state)).finished_s is not None


def test_a_body_torn_off_by_exit_has_not_ended() -> None:
    """A pool child that obeys SIGTERM passes Celery's postrun with no state: that is a run
    cut off at that moment, not one that ended."""
    run = only(Story().started("a").at(20).finished("a", state="None"))
    assert (run.finished_s, run.cut_off_s) == (None, START_S + 20)
    assert not run.open


def test_a_child_that_dies_cuts_off_its_own_run_alone() -> None:
    """The death of one pool child leaves the run in the other child going."""
    story = Story().started("a", pid=11).started("b", pid=12).at(20).dies(pid=11)
    first, second = story.history().executions
    assert (first.cut_off_s, second.cut_off_s) == (START_S + 20, None)
    assert second.open


def test_a_leader_that_dies_cuts_off_every_run_of_its_worker() -> None:
    """When a worker's leader dies, all its children's runs are cut off; the other worker's
    are not, whatever their pid."""
    story = Story().started("a", pid=11).started("b", pid=12)
    story.started("c", "worker-2", pid=11).at(20).dies("worker-1")
    cut = {run.message.task_id: run.cut_off_s for run in story.history().executions}
    assert cut == {"a": START_S + 20, "b": START_S + 20, "c": None}


def test_the_death_of_another_workers_child_is_not_ours() -> None:
    """A death counts for the worker it names: two machines may have the same pid."""
    assert only(Story().started("a", pid=11).dies("worker-2", pid=11)).open


def test_the_first_death_counts() -> None:
    """A child that died, and then its leader: the run was cut off by the first."""
    run = only(Story().started("a").at(20).dies(pid=11).at(30).dies())
    assert run.cut_off_s == START_S + 20


def test_a_death_before_the_start_is_somebody_elses() -> None:
    """A pid that is used again: the death of its former owner cuts nothing off."""
    run = only(Story().dies(pid=11).started("a", pid=11))
    assert run.open


def test_a_death_at_the_very_moment_of_the_start_cuts_it_off() -> None:
    """A death that is only known to lie after the last look is dated to the start at the
    earliest: it still is the death of that run."""
    run = only(Story().at(10).started("a").at(10).dies(pid=11))
    assert run.cut_off_s == START_S + 10


def test_a_pid_used_twice_for_one_message() -> None:
    """Started, died, started again under the same pid, finished: the finish belongs to the
    second start, and the first stays cut off."""
    story = Story().at(10).started("a").at(20).dies(pid=11).at(30).started("a").at(40).finished("a")
    first, second = story.history().executions
    assert (first.started_s, first.cut_off_s, first.finished_s) == (
        START_S + 10,
        START_S + 20,
        None,
    )
    assert (second.started_s, second.cut_off_s, second.finished_s) == (
        START_S + 30,
        None,
        START_S + 40,
    )


def test_a_worker_restarted_under_its_name() -> None:
    """The leader's death ends the runs of before, and none of those after."""
    story = Story().started("a").at(20).dies().started("a").finished("a").started("b")
    first, second, third = story.history().executions
    assert first.cut_off_s == START_S + 20
    assert second.finished_s is not None
    assert third.open


def test_a_finish_outweighs_a_death_dated_too_early() -> None:
    """Deaths are dated roughly: a process that wrote its finish was alive, so there is one
    execution and it ended, not two."""
    run = only(Story().started("a").at(20).dies(pid=11).at(20.001).finished("a"))
    assert run.finished_s == START_S + 20.001
    assert run.cut_off_s is None


def test_a_finish_without_a_start_is_an_execution() -> None:
    """A start that was not written does not make the end disappear."""
    run = only(Story().at(10).finished("a"))
    assert run.started_s == run.finished_s == START_S + 10


def test_the_end_in_another_process_is_no_end() -> None:
    """A finish in child 12 does not end what child 11 began."""
    runs = Story().started("a", pid=11).finished("a", pid=12).history().executions
    assert [run.finished_s is None for run in runs] == [True, False]


def test_the_end_in_another_worker_is_no_end() -> None:
    """The same pid in another worker is another process."""
    runs = Story().started("a").finished("a", "worker-2").history().executions
    assert [run.finished_s is None for run in runs] == [True, False]


def test_the_end_of_another_retry_is_no_end() -> None:
    """Retries of one task id are other messages."""
    runs = Story().started("a", retries=0).finished("a", retries=1).history().executions
    assert [(run.message.retries, run.finished_s is None) for run in runs] == [
        (0, True),
        (1, False),
    ]


def test_two_runs_of_a_message_in_one_process() -> None:
    """With threads one process may run a message twice at once: two starts, two ends."""
    story = (
        Story().at(10).started("a").at(11).started("a").at(12).finished("a").at(13).finished("a")
    )
    assert [run.finished_s for run in story.history().executions] == [START_S + 12, START_S + 13]


def test_of_two_runs_in_one_process_the_first_ends_first() -> None:
    """One ended, then the process died: the later one was cut off."""
    story = Story().at(10).started("a").at(11).started("a").at(12).finished("a").at(20).dies(pid=11)
    first, second = story.history().executions
    assert (first.finished_s, first.cut_off_s) == (START_S + 12, None)
    assert (second.finished_s, second.cut_off_s) == (None, START_S + 20)


def test_the_marker_is_no_execution() -> None:
    """The baseline's marker task leaves no trace in what is counted."""
    history = Story().marker().started("a").history()
    assert [run.message for run in history.executions] == [A]
    assert history.life(MessageId("marker-worker-1", 0)) == []
    assert [event.task_id for event in history.of("started")] == ["a"]
    assert history.start_s == history.events[0].mono_s, "the marker's publish is no zero of time"


def test_the_order_of_the_lines_changes_nothing() -> None:
    """Each process writes its own file; only the monotonic clock orders them."""
    events = Story().publish("a").runs("a").ends().events
    assert History(reversed(events)).events == History(events).events
    assert History(reversed(events)).executions == History(events).executions


def test_events_of_one_moment_stand_in_the_order_of_a_life() -> None:
    """Equal times, read in any order: a message is started before it is finished."""
    events = Story().at(5).started("a").at(5).finished("a").events
    assert len(History(reversed(events)).executions) == 1


LIFE = (
    *("publish_invoke", "publish_ok", "received", "started", "effect_begin", "effect"),
    *("finished", "retried", "failed", "acked", "rejected", "process_exited"),
)


def test_the_order_of_a_life() -> None:
    """Of events of one moment, each step comes after those it follows from; what the
    harness notes comes last."""
    story = Story()
    story.events.clear()
    for kind in reversed(LIFE):
        story.at(5).event(kind, "a")
    assert tuple(event.kind for event in story.history().events) == LIFE


@pytest.mark.parametrize("kind", LIFE[2:-1])
def test_every_step_can_be_the_last(kind: str) -> None:
    """In the solo pool one process does it all."""
    story = Story().started("a").event(kind, "a", role="worker-1", by=11)
    story.event("acked_error", "a", role="worker-1", by=11)
    history = story.history()
    assert history.last_step(history.executions[0], START_S + 99) == kind


def test_several_kinds_come_in_order_of_time() -> None:
    """``of`` merges its kinds by time."""
    history = Story().acked("a").received("b").acked("c").history()
    assert [event.task_id for event in history.of("received", "acked")] == ["a", "b", "c"]


def test_going_at_is_from_the_start_to_before_the_end() -> None:
    """A body is running at its start and no more at its end, or its death."""
    story = Story().at(10).started("a").at(12).finished("a")
    story.at(10).started("b", pid=12).at(13).dies(pid=12)
    history = story.history()

    def going(s: float) -> list[str]:
        return [run.message.task_id for run in history.going_at(START_S + s)]

    assert going(9.9) == []
    assert going(10) == ["a", "b"]
    assert going(12) == ["b"]
    assert going(13) == []


def test_the_last_step_is_that_of_the_runs_own_process() -> None:
    """What the main process or another worker did with the message is not how far a body
    had come."""
    story = Story().publish("a").received("a").at(10).started("a").at(11).effect("a")
    story.acked("a").received("a", "worker-2").started("a", "worker-2", pid=21)
    story.at(20).event("effect_applied", "a")
    history = story.history()
    first, second = history.executions
    assert history.last_step(first, START_S + 10) == "started"
    assert history.last_step(first, START_S + 30) == "effect"
    assert history.last_step(second, START_S + 30) == "started"
    assert history.last_step(first, START_S + 9) == ""


def test_the_last_step_is_not_that_of_an_earlier_run() -> None:
    """The same process may have run the message before."""
    history = Story().started("a").effect("a").finished("a").at(30).started("a").history()
    assert history.last_step(history.executions[1], START_S + 99) == "started"


def test_time_starts_with_the_first_publish_and_ends_with_the_drain() -> None:
    """The times shown count from the first publish; tidying up comes after the end."""
    history = Story().at(10).publish("a").at(20).drained().at(30).dies().history()
    assert (history.start_s, history.end_s) == (START_S + 10, START_S + 20)
    assert history.end_at_s == WALL_S + START_S + 20


def test_time_of_a_trial_that_got_nowhere() -> None:
    """With no publish and no drain, the first and last events bound it; with none, zero."""
    history = Story().at(30).dies().history()
    assert (history.start_s, history.end_s) == (START_S + 1, START_S + 30)
    assert history.end_at_s == WALL_S + START_S + 30
    assert (History([]).start_s, History([]).end_s, History([]).end_at_s) == (0.0, 0.0, 0.0)


def test_first_and_last() -> None:
    """``first`` and ``last`` are by time, whatever the order of the lines."""
    story = Story().at(20).event("horizon", seconds=2).at(10).event("horizon", seconds=1)
    history = story.history()
    first, last = history.first("horizon"), history.last("horizon")
    assert first is not None
    assert last is not None
    assert (first.data["seconds"], last.data["seconds"]) == (1, 2)
    assert history.first("nothing") is None
    assert history.last("nothing") is None


def test_an_event_without_a_task_is_no_execution() -> None:
    """A start that names no task says nothing about a message."""
    assert Story().event("started", role="worker-1", by=MAIN).history().executions == ()

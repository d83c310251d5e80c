"""Every count of the contract, on histories written by hand."""

from __future__ import annotations

import pytest

from harness import counting
from harness.model import Counts, Held, MessageId
from tests.histories import START_S, Story


def the(counts: Counts, *names: str) -> tuple[object, ...]:
    return tuple(getattr(counts, name) for name in names)


# -- publishes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "fate"),
    [
        (("ok",), "confirmed"),
        (("fail",), "rejected"),
        (("info",), "indeterminate"),
        (("died",), "indeterminate"),
        (("info", "invoke", "ok"), "confirmed"),
        (("ok", "invoke", "info"), "confirmed"),
        (("ok", "invoke", "fail"), "confirmed"),
        (("fail", "invoke", "ok"), "confirmed"),
        (("info", "invoke", "fail"), "indeterminate"),
        (("fail", "invoke", "info"), "indeterminate"),
        (("fail", "invoke", "died"), "indeterminate"),
        (("fail", "invoke", "fail"), "rejected"),
    ],
)
def test_what_became_of_a_publish(outcomes: tuple[str, ...], fate: str) -> None:
    """Once ok it is confirmed; once nobody can know it is not rejected any more; surely not
    sent is only what failed every time. It is one attempt, however often it was tried."""
    counts = Story().publish("a", *outcomes).ends().counts()
    fates = {"confirmed": 0, "rejected": 0, "indeterminate": 0, fate: 1}
    assert the(counts, "attempted", *fates) == (1, *fates.values())


@pytest.mark.parametrize(("outcome", "fate"), [("ok", "confirmed"), ("info", "indeterminate")])
def test_an_outcome_whose_invoke_was_not_written(outcome: str, fate: str) -> None:
    """The outcome alone proves the attempt."""
    story = Story().event(f"publish_{outcome}", "a").event("publish_fail", "b").ends()
    assert counting.attempted(story.history()) == {
        MessageId("a", 0): fate,
        MessageId("b", 0): "rejected",
    }


def test_retries_are_other_messages() -> None:
    """Celery's own retry has the same task id and another number: two messages, each run
    once, and nothing twice."""
    story = Story().publish("a").runs("a").publish("a", retries=1).runs("a", retries=1)
    counts = story.effects("a").ends().counts()
    assert the(counts, "attempted", "confirmed", "completed") == (2, 2, 2)
    assert the(counts, "duplicate_executions", "unexpected", "duplicate_effects") == (0, 0, 0)


def test_a_retry_that_never_ran_is_lost_by_itself() -> None:
    """The first attempt ended; the retry it published is gone."""
    story = Story().publish("a").runs("a").publish("a", retries=1).ends()
    assert counting.lost(story.history()) == [MessageId("a", 1)]


def test_the_marker_is_never_counted() -> None:
    """Published, run twice, and held by the broker: the marker counts for nothing."""
    story = Story().marker(times=2).ends(Held("marker-worker-1", 0, "ready"))
    assert story.counts() == Counts()


# -- completed ---------------------------------------------------------------------------


def test_completed_is_a_message_with_a_run_that_ended() -> None:
    """Started is not completed; run twice to the end is completed once."""
    story = Story().publish("a").runs("a").runs("a").publish("b").started("b", pid=12).dies(pid=12)
    assert story.ends().counts().completed == 1


def test_completed_at_its_first_end() -> None:
    """A message is completed when the first of its runs ended."""
    story = Story().publish("a").at(10).started("a").started("a", pid=12)
    story.at(20).finished("a", pid=12).at(30).finished("a")
    assert counting.completed(story.ends().history()) == {MessageId("a", 0): START_S + 20}


def test_completed_counts_what_was_attempted() -> None:
    """A stranger that ran is unexpected, not completed: completed never exceeds attempted."""
    counts = Story().publish("a").runs("a").runs("x").ends().counts()
    assert the(counts, "attempted", "completed", "unexpected") == (1, 1, 1)


def test_a_body_torn_off_by_exit_is_not_completed() -> None:
    """A child told to exit in the middle of a task of which the message was acked: lost."""
    story = Story().publish("a").received("a").acked("a").started("a").finished("a", state="None")
    assert the(story.ends().counts(), "completed", "lost") == (0, 1)


# -- lost --------------------------------------------------------------------------------


def test_lost_is_confirmed_never_completed_and_nowhere() -> None:
    """Never received, or cut off: nobody holds it, and it was confirmed."""
    story = Story().publish("a").publish("b").received("b").started("b").acked("b").dies(pid=11)
    assert the(story.ends().counts(), "lost", "stranded", "completed") == (2, 0, 0)


@pytest.mark.parametrize("outcome", ["info", "fail", "died"])
def test_what_was_not_confirmed_is_not_lost(outcome: str) -> None:
    """Nobody promised anything about a publish that failed or may never have arrived."""
    assert Story().publish("a", outcome).ends().counts().lost == 0


def test_what_the_broker_holds_is_not_lost() -> None:
    """Ready or unacknowledged, with or without a time: it is stranded."""
    story = Story().publish("a").publish("b").publish("c").started("c").dies(pid=11)
    story.ends(story.ready("a"), story.unacked("b"), story.unacked("c", back_in_s=3600))
    assert the(story.counts(), "lost", "stranded") == (0, 3)


def test_what_a_live_worker_runs_is_not_lost() -> None:
    """Acked early, and its body still going when the drain ends: the worker holds it."""
    story = Story().publish("a").started("a").acked("a").ends()
    assert the(story.counts(), "lost", "stranded") == (0, 1)
    assert counting.held(story.history())[MessageId("a", 0)].where == "worker"


def test_what_our_own_tidying_up_cut_off_is_not_lost() -> None:
    """Running, or even begun, after the drain: we stopped that worker, no fault did."""
    story = Story().publish("a").publish("b").started("a").acked("a").drained()
    story.started("b", pid=12).acked("b").dies().broker_holds()
    assert the(story.counts(), "lost", "stranded") == (0, 2)


def test_what_ended_while_tidying_up_is_completed() -> None:
    """An end is an end, also after the drain."""
    story = Story().publish("a").started("a").drained().finished("a").broker_holds()
    assert the(story.counts(), "completed", "lost", "stranded") == (1, 0, 0)


def test_a_death_before_the_end_of_the_drain_was_not_ours() -> None:
    """A body cut off at the latest when the drain ends is held by nobody."""
    story = Story().publish("a").at(10).started("a").acked("a")
    story.at(20).dies().at(20).drained().broker_holds()
    assert the(story.counts(), "lost", "stranded") == (1, 0)


def test_nothing_is_lost_that_nobody_looked_for() -> None:
    """When the broker could not be asked, it may hold the message."""
    story = Story().publish("a").drained()
    assert the(story.counts(), "lost", "stranded") == (0, 0)
    assert counting.unaccounted(story.history(), "confirmed") == [MessageId("a", 0)]


def test_what_the_broker_cannot_name_is_named_by_elimination() -> None:
    """Two are with the broker, it cannot say which; one message was acked for good, one was
    never sent, one is named: the other two are those, and come back at the horizon."""
    story = Story().event("horizon", seconds=21).publish("d", "fail").publish("c")
    story.publish("a").publish("b", "info").publish("e").started("e").acked("e").dies()
    story.drained()
    story.broker_holds(story.ready("c"), unnamed=2)
    assert the(story.counts(), "lost", "stranded", "redelivery_pending") == (1, 3, 0)
    found = counting.stranded(story.history())[MessageId("a", 0)]
    view = counting.final_view(story.history())
    assert view is not None
    assert (found.where, found.back_at_s) == ("unacked", view.at_s + 21)


def test_elimination_needs_exactly_as_many() -> None:
    """Three may be with the broker and it holds two: nobody can say which."""
    story = Story().publish("a").publish("b").publish("c").drained().broker_holds(unnamed=2)
    assert the(story.counts(), "lost", "stranded") == (0, 0)
    assert counting.gaps(story.history())


def test_what_was_requeued_may_be_with_the_broker() -> None:
    """Rejected to be requeued, it is not gone: two could be the one that is held."""
    story = Story().publish("a").received("a").rejected("a", requeue=True).publish("b").drained()
    assert the(story.broker_holds(unnamed=1).counts(), "lost", "stranded") == (0, 0)
    story = Story().publish("a").received("a").rejected("a", requeue=False).publish("b").drained()
    assert the(story.broker_holds(unnamed=1).counts(), "lost", "stranded") == (1, 1)


def test_a_view_that_names_as_many_as_it_holds_is_enough() -> None:
    """Not every view promises names; when none is missing, nothing is hidden."""
    story = Story().publish("a").publish("b").drained()
    story.broker_holds(story.ready("a"), named=False)
    assert the(story.counts(), "lost", "stranded") == (1, 1)


def test_a_view_that_says_it_names_all_is_believed() -> None:
    """It holds two copies of one message, and names that message once."""
    story = Story().publish("a").publish("b").drained()
    story.broker_holds(story.ready("a"), unnamed=1, named=True)
    assert the(story.counts(), "lost", "stranded") == (1, 1)


def test_nothing_is_lost_when_a_probe_could_not_write() -> None:
    """Its end may be among the events that a full disk swallowed."""
    story = Story().publish("a").received("a").acked("a")
    story.event("received", "b", role="worker-1", by=11, events_missed_before=3).ends()
    assert story.counts().lost == 0


def test_a_mark_alone_tells_of_missing_events() -> None:
    """Of a probe that never came to write again."""
    story = Story().publish("a").received("a").acked("a").started("a").dies()
    assert story.ends().counts().lost == 1
    story.event("events_missed")
    assert story.counts().lost == 0
    assert counting.missed_events(story.history()) == [
        "a probe could not write some of its events: the disk was full, or nearly"
    ]


# -- stranded ----------------------------------------------------------------------------


def test_an_indeterminate_message_that_is_held_is_stranded() -> None:
    """Nobody knew whether it was sent; the broker has it, and it was not run."""
    story = Story().publish("a", "info")
    assert the(story.ends(story.ready("a")).counts(), "stranded", "lost") == (1, 0)


def test_a_completed_message_is_not_stranded() -> None:
    """The broker holds it still, though it ran: it would run again."""
    story = Story().publish("a").started("a").finished("a")
    story.ends(story.unacked("a", back_in_s=60))
    assert the(story.counts(), "stranded", "redelivery_pending", "completed") == (0, 1, 1)


def test_a_stranger_with_the_broker_is_not_stranded() -> None:
    """What we never published is not ours to wait for."""
    story = Story()
    assert story.ends(story.ready("x")).counts().stranded == 0


def test_a_rejected_publish_is_not_stranded() -> None:
    """Surely not sent, so what is held cannot be it."""
    story = Story().publish("a", "fail")
    assert story.ends(story.ready("a")).counts().stranded == 0


def test_the_brokers_hold_outweighs_the_workers() -> None:
    """Acks late: both hold it, and the broker knows when it comes back."""
    story = Story().publish("a").started("a")
    story.ends(story.unacked("a", back_in_s=60))
    assert counting.stranded(story.history())[MessageId("a", 0)].where == "unacked"


def test_held_of_another_retry_is_not_this_one() -> None:
    """The broker holds the retry; the first attempt is lost."""
    story = Story().publish("a").publish("a", retries=1)
    story.ends(story.ready("a", retries=1))
    assert counting.lost(story.history()) == [MessageId("a", 0)]


# -- pending -----------------------------------------------------------------------------


def test_a_completed_message_that_runs_again_is_not_pending() -> None:
    """A worker has it in its hands, and the broker does not hold it."""
    story = Story().publish("a").runs("a").started("a", pid=12).ends()
    assert the(story.counts(), "redelivery_pending", "stranded") == (0, 0)


def test_what_ran_and_is_held_would_run_again() -> None:
    """Cut off or completed: the broker offers it once more. One that never started would
    run for the first time."""
    story = Story().publish("a").publish("b").publish("c").runs("a")
    story.started("b", pid=12).dies(pid=12)
    story.ends(story.unacked("a"), story.unacked("b"), story.unacked("c"))
    again = counting.would_run_again(story.history())
    assert again == [MessageId("a", 0), MessageId("b", 0)]


# -- twice -------------------------------------------------------------------------------


def test_duplicate_executions_are_messages_not_runs() -> None:
    """Three starts of one message are one duplicate; a cut-off run counts as a start."""
    story = Story().publish("a").started("a").dies(pid=11).runs("a", pid=12).runs("a", pid=13)
    counts = story.publish("b").runs("b").ends().counts()
    assert the(counts, "duplicate_executions", "overlapping_executions") == (1, 0)


def test_two_workers_running_one_message_at_once() -> None:
    """The second starts while the first goes on: a duplicate that overlaps."""
    story = Story().publish("a").started("a").started("a", "worker-2", pid=21)
    counts = story.finished("a").finished("a", "worker-2", pid=21).ends().counts()
    assert the(counts, "duplicate_executions", "overlapping_executions", "completed") == (1, 1, 1)


def test_one_run_inside_another_overlaps() -> None:
    """A short run between, and a third after it but still within the first: overlap."""
    story = Story().publish("a").at(10).started("a").at(40).finished("a")
    story.at(50).started("a", pid=12).at(51).finished("a", pid=12)
    assert story.counts().overlapping_executions == 0
    story.at(39).started("a", pid=13).at(60).finished("a", pid=13)
    assert story.counts().overlapping_executions == 1


def test_a_start_at_the_end_of_the_other_does_not_overlap() -> None:
    """One ends at the moment at which the next begins: one after the other."""
    story = Story().publish("a").at(10).started("a").at(20).finished("a")
    story.at(20).started("a", pid=12).at(30).finished("a", pid=12)
    assert the(story.counts(), "duplicate_executions", "overlapping_executions") == (1, 0)


def test_a_run_after_the_others_death_does_not_overlap() -> None:
    """Its process was dead by then."""
    story = Story().publish("a").started("a").dies(pid=11).started("a", pid=12)
    assert story.finished("a", pid=12).ends().counts().overlapping_executions == 0


def test_a_childs_death_is_not_its_siblings() -> None:
    """Child 12 died; child 11 goes on with the message that another worker runs as well."""
    story = Story().publish("a").started("a", pid=11).dies(pid=12)
    story.started("a", "worker-2", pid=21)
    assert story.ends().counts().overlapping_executions == 1


def test_a_run_that_goes_on_overlaps_what_comes_later() -> None:
    """Never ended, never died: it is still running, also beyond the drain."""
    story = Story().publish("a").started("a").ends().started("a", "worker-2", pid=21)
    assert story.counts().overlapping_executions == 1


def test_effects_nobody_read_are_not_zero() -> None:
    """None, because zero would be a claim."""
    assert Story().publish("a").runs("a").ends().counts().duplicate_effects is None
    assert Story().publish("a").runs("a").effects("a").ends().counts().duplicate_effects == 0


def test_a_doubled_charge_and_a_harmless_second_run() -> None:
    """Two messages ran twice; the store has two charges of one and one of the other."""
    story = Story().publish("a").publish("b")
    story.runs("a").runs("a").runs("b").runs("b").effects("a", "a", "a", "b").ends()
    assert the(story.counts(), "duplicate_executions", "duplicate_effects") == (2, 1)


# -- late --------------------------------------------------------------------------------


def redelivered_at(s: float, **how: bool) -> Story:
    """Published at 10, cut off, received again by the next worker and finished at ``s``."""
    story = Story(late_after_s=30).at(9).publish("a").received("a").started("a").dies()
    return story.received("a", "worker-2", **how).at(s).finished("a", "worker-2", pid=21).ends()


def test_late_is_completed_by_redelivery_and_too_late() -> None:
    """Thirty seconds after its ok are allowed; a moment more is late, and never lost."""
    assert the(redelivered_at(40).counts(), "late", "lost") == (0, 0)
    assert the(redelivered_at(40.1).counts(), "late", "lost", "completed") == (1, 0, 1)


def test_slow_is_not_late() -> None:
    """The first delivery took its time: no redelivery, not late."""
    story = Story(late_after_s=3).publish("a").received("a").wait(60).started("a").finished("a")
    assert story.ends().counts().late == 0


def test_a_second_delivery_does_not_make_the_first_late() -> None:
    """Redelivered while it ran, and completed by the first delivery all the same."""
    story = Story(late_after_s=3).publish("a").received("a").started("a")
    story.received("a", "worker-2").started("a", "worker-2", pid=21).wait(60).finished("a")
    assert story.finished("a", "worker-2", pid=21).ends().counts().late == 0


def test_the_first_completion_decides() -> None:
    """Completed in time; that it ran once more, late, is a duplicate and not late."""
    story = Story(late_after_s=10).publish("a").runs("a").wait(60).runs("a", "worker-2", pid=21)
    assert the(story.ends().counts(), "late", "duplicate_executions") == (0, 1)


def test_the_same_worker_may_get_it_back() -> None:
    """Both deliveries to one worker: its second run belongs to its second receipt."""
    story = Story(late_after_s=3).publish("a").received("a").started("a").dies(pid=11)
    story.received("a").wait(60).started("a", pid=12).finished("a", pid=12)
    assert story.ends().counts().late == 1


def test_a_receipt_before_the_run_began_may_be_the_next_ones() -> None:
    """Received twice before its first run: that run belongs to the first receipt."""
    story = Story(late_after_s=3).publish("a").received("a").received("a").wait(60)
    assert story.started("a").finished("a").ends().counts().late == 0


def test_a_receipt_is_forgotten_with_the_connection() -> None:
    """Received, connection lost, received again and run: by redelivery, though it started
    only once."""
    story = Story(late_after_s=3).publish("a").received("a")
    story.event("connection_lost", role="worker-1", by=1001).received("a").wait(60)
    assert story.started("a").finished("a").ends().counts().late == 1


def test_a_receipt_is_forgotten_with_its_worker() -> None:
    """The same, for a worker restarted under its name; another's fate changes nothing."""
    for worker, late in (("worker-1", 1), ("worker-2", 0)):
        story = Story(late_after_s=3).publish("a").received("a").dies(worker).received("a")
        assert story.wait(60).started("a").finished("a").ends().counts().late == late


def test_a_childs_death_forgets_no_receipt() -> None:
    """The main process remembers what it has reserved."""
    story = Story(late_after_s=3).publish("a").received("a").dies(pid=12).received("a")
    assert story.wait(60).started("a").finished("a").ends().counts().late == 0


def test_a_run_that_was_reserved_survives_the_connection() -> None:
    """Received, connection lost, and run from the pool's hands: the first delivery."""
    story = Story(late_after_s=3).publish("a").received("a")
    story.event("connection_lost", role="worker-1", by=1001).wait(60)
    assert story.started("a").finished("a").ends().counts().late == 0


def test_the_last_loss_of_the_connection_counts() -> None:
    """Lost, received, lost, received: only the second is in hand."""
    story = Story(late_after_s=3).publish("a")
    story.event("connection_lost", role="worker-1", by=1001)
    story.received("a").event("connection_lost", role="worker-1", by=1001)
    assert story.received("a").wait(60).started("a").finished("a").ends().counts().late == 1
    story = Story(late_after_s=3).publish("a")
    for _ in range(2):
        story.received("a").event("connection_lost", role="worker-1", by=1001)
    story.wait(60).started("a").finished("a")
    assert story.ends().counts().late == 1, "reserved from the second delivery"


def test_a_reserved_first_delivery_may_run_second() -> None:
    """Another worker got it meanwhile and died; the first delivery then completed it."""
    story = Story(late_after_s=3).publish("a").received("a")
    story.event("connection_lost", role="worker-1", by=1001)
    story.received("a", "worker-2").started("a", "worker-2", pid=21).dies("worker-2").wait(60)
    assert story.started("a").finished("a").ends().counts().late == 0


def test_the_brokers_flag_is_enough() -> None:
    """Its first delivery died with a worker that wrote nothing; the broker marks the second."""
    story = Story(late_after_s=3).publish("a").wait(60).received("a", redelivered=True)
    assert story.started("a").finished("a").ends().counts().late == 1


def test_a_run_whose_receipt_was_not_written() -> None:
    """Then only an earlier run shows that this one came of a redelivery."""
    story = Story(late_after_s=3).publish("a").started("a").dies(pid=11).wait(60)
    assert story.started("a", pid=12).finished("a", pid=12).ends().counts().late == 1
    story = Story(late_after_s=3).publish("a").received("a").started("a").dies(pid=11).wait(60)
    assert story.started("a", pid=12).finished("a", pid=12).ends().counts().late == 1
    story = Story(late_after_s=3).publish("a").wait(60).started("a").finished("a")
    assert story.ends().counts().late == 0


def test_each_worker_counts_its_own_runs() -> None:
    """Its first run belongs to its first receipt, though another worker ran it before."""
    story = Story(late_after_s=3).publish("a").received("a").received("a", "worker-2")
    story.received("a").started("a", "worker-2", pid=21).dies("worker-2").wait(60)
    assert story.started("a").finished("a").ends().counts().late == 0


def test_a_receipt_after_the_start_is_not_its_own() -> None:
    """Nor is a connection lost while it ran: what ran, ran of the delivery before."""
    story = Story(late_after_s=3).publish("a").started("a").received("a", redelivered=True)
    assert story.wait(60).finished("a").ends().counts().late == 0
    story = Story(late_after_s=3).publish("a").received("a").started("a")
    story.event("connection_lost", role="worker-1", by=1001).received("a", redelivered=True)
    assert story.wait(60).finished("a").ends().counts().late == 0


def test_late_counts_from_the_first_ok() -> None:
    """Published again under its id, it is not younger for it; and without an ok its invoke
    is the start."""
    story = redelivered_at(41.1).at(38).publish("a", "ok")
    assert story.counts().late == 1
    story = Story(late_after_s=30).at(9).publish("a", "info").received("a").started("a").dies()
    story.received("a", "worker-2").at(39.1).finished("a", "worker-2", pid=21).ends()
    assert story.counts().late == 1


def test_late_without_an_allowance_is_later_than_the_horizon() -> None:
    """Where the scenario does not say, the redelivery horizon is what is allowed."""
    for s, late in ((40, 0), (40.1, 1)):
        story = redelivered_at(s)
        story.events = [event for event in story.events if event.kind != "trial"]
        assert story.counts().late == 0, "nobody said what late is"
        assert story.event("horizon", seconds=30).counts().late == late


def test_a_stranger_is_not_late() -> None:
    """Nobody knows when it was published."""
    story = Story(late_after_s=0).received("x", redelivered=True).started("x").finished("x")
    assert the(story.ends().counts(), "late", "unexpected") == (0, 1)


# -- unexpected --------------------------------------------------------------------------


def test_unexpected_is_executed_and_never_attempted() -> None:
    """A message that ran, though nobody was seen to publish it."""
    story = Story().publish("a").runs("a").started("x", pid=12).runs("y", pid=13)
    assert story.runs("a", retries=3).ends().counts().unexpected == 3


# -- invariances and times ---------------------------------------------------------------


def test_a_clock_step_changes_nothing() -> None:
    """The wall clock jumps back a day in the middle: no count and no duration moves."""

    def tell(step_s: float) -> Story:
        story = Story(late_after_s=3).publish("a").publish("b").received("a").started("a").dies()
        story.clock_steps(step_s).wait(60).runs("a", "worker-2", pid=21)
        return story.ends(story.unacked("b", back_in_s=60))

    straight, stepped = tell(0).history(), tell(-86400).history()
    assert counting.count(stepped) == counting.count(straight)
    assert counting.count(straight).late == 1
    assert counting.timings(stepped) == counting.timings(straight)


def test_recovery_is_from_the_fault_to_the_first_end_of_new_work() -> None:
    """Only a task that started after the fault shows that work goes on; the first end counts."""
    story = Story().publish("a").at(10).started("a")
    story.planned()
    story.at(20).fires().at(25).finished("a")
    assert counting.timings(story.history()).recovery_s is None
    story.at(26).started("b", pid=12).at(27).started("c", pid=13)
    assert counting.timings(story.history()).recovery_s is None
    story.at(31).finished("b", pid=12).at(29.5004).finished("c", pid=13)
    assert counting.timings(story.history()).recovery_s == 9.5


def test_a_task_that_started_with_the_fault_was_not_started_after_it() -> None:
    """The trigger's own task does not count as recovery."""
    story = Story().at(20).started("a").at(20).fires().finished("a")
    assert counting.recovery_s(story.history()) is None


def test_recovery_counts_from_the_first_fault() -> None:
    """Of two faults, the first; without one, there is nothing to recover from."""
    story = Story().at(20).fires(0).at(30).fires(1).at(31).started("a").at(32).finished("a")
    assert counting.recovery_s(story.history()) == 12
    assert counting.recovery_s(Story().runs("a").history()) is None


def test_work_is_useful_once() -> None:
    """The first run that ended is useful; the one cut off, the repeated one and the one
    still going at the end of the drain are wasted. Milliseconds are enough."""
    story = Story().at(10).started("a").at(13).dies(pid=11)
    story.at(20).started("a", pid=12).at(25.0004).finished("a", pid=12)
    story.at(30).started("a", pid=13).at(31.0004).finished("a", pid=13)
    story.at(40).started("b", pid=14).at(47).drained().at(60).started("c", pid=15)
    times = counting.timings(story.history())
    assert (times.useful_work_s, times.wasted_work_s) == (5.0, 3.0 + 1.0 + 7.0)


def test_the_first_end_is_useful_not_the_first_start() -> None:
    """Of two runs at once, the one that ended first."""
    story = Story().at(10).started("a").at(12).started("a", pid=12)
    story.at(15).finished("a", pid=12).at(30).finished("a")
    times = counting.timings(story.ends().history())
    assert (times.useful_work_s, times.wasted_work_s) == (3.0, 20.0)


def test_times_of_the_trial() -> None:
    """From the first event to the last; the horizon as it was derived last."""
    story = Story().event("horizon", seconds=20).event("horizon", seconds=21).at(50.0004).drained()
    times = counting.timings(story.history())
    assert (times.trial_s, times.horizon_s) == (49.0, 21.0)
    assert counting.timings(Story().history()).horizon_s is None


def test_a_history_without_events() -> None:
    """Nothing happened, nothing is counted, nothing fails."""
    story = Story()
    story.events.clear()
    assert story.counts() == Counts()
    assert counting.timings(story.history()).trial_s == 0.0


def test_what_still_loops_is_not_lost() -> None:
    """It was given out again and again; that our own end found it on its way, and nobody holds it
    now, is no loss of the broker's."""
    for looping, found in ((None, (1, 0)), (("a", 0), (0, 1))):
        story = Story().publish("a")
        for _ in range(3):
            story.received("a").started("a").dies(pid=11).rejected("a")
        counts = story.drained(looping=looping).broker_holds().counts()
        assert (counts.lost, counts.stranded) == found

"""When a trial is over: not while waiting can still change something, and not a moment later."""

from __future__ import annotations

import pytest

from harness.drain import GRACE_S, QUIET_S, TRANSIT_S, Drain, busy, decide, gave_up
from harness.model import MARKER_TASK, BrokerView, Held, Horizon
from tests.histories import WALL_S, WORKER, Story

OTHER = "worker-1+"
SOON_S = 0.1
"""Too soon after the last event to say anything of a message that is not to be seen."""


def drain(
    story: Story,
    *live: str,
    after_s: float = 60.0,
    horizon_s: float = 3700.0,
    patience_s: float = 45.0,
    no_progress_s: float = 0.0,
    idle_s: float = 0.0,
) -> Drain:
    """The situation ``after_s`` after the last event, with these workers alive."""
    history = story.history()
    last_s = history.events[-1].mono_s
    now_s = last_s + after_s
    return Drain(
        history=history,
        live=frozenset(live),
        horizon=Horizon(horizon_s, ()),
        patience_s=patience_s,
        now_s=now_s,
        now_at_s=WALL_S + now_s,
        progress_s=now_s - no_progress_s,
        idle_s=now_s - idle_s,
        event_s=last_s,
    )


def view(*held: Held, ready: int = 0, unacked: int = 0, named: bool = True) -> BrokerView:
    """What the broker holds; by number where it does not name it."""
    ready += sum(one.where == "ready" for one in held)
    unacked += sum(one.where == "unacked" for one in held)
    return BrokerView(at_s=WALL_S, ready=ready, unacked=unacked, held=held, named=named)


def unacked(task_id: str, now: Drain, back_in_s: float | None) -> Held:
    back_at_s = None if back_in_s is None else now.now_at_s + back_in_s
    return Held(task_id, 0, "unacked", back_at_s)


def why(now: Drain, seen: BrokerView) -> str:
    """The reason with which the trial is over."""
    settled = decide(now, seen)
    assert settled is not None
    assert settled.settled
    return settled.why


NOTHING = view()


# -- busy: a worker has something in its hands, or will have --------------------------------


def test_idle_when_all_is_done() -> None:
    """Everything received was started and settled: nothing is in anybody's hands."""
    assert not busy(drain(Story().publish("a").runs("a"), WORKER))


def test_busy_while_a_body_runs() -> None:
    """However long it takes."""
    assert busy(drain(Story().publish("a").received("a").started("a"), WORKER, after_s=10_000))


def test_not_busy_with_a_body_whose_process_died() -> None:
    """What a dead process ran, nobody runs."""
    story = Story().publish("a").received("a").started("a").dies()
    assert not busy(drain(story))


def test_busy_with_a_message_that_waits_for_its_turn() -> None:
    """Prefetched: received, and not started yet."""
    assert busy(drain(Story().publish("a").received("a"), WORKER))


def test_busy_with_a_message_that_waits_for_its_eta() -> None:
    """A task with a countdown is received at once, and starts much later."""
    story = Story().publish("a")
    story.event("received", "a", role=WORKER, by=1001, eta="2030-01-01T00:00:00+00:00")
    assert busy(drain(story, WORKER, after_s=10_000))


def test_not_busy_with_what_was_settled_unstarted() -> None:
    """Acknowledged early, and its child died before it could start it; or revoked."""
    assert not busy(drain(Story().publish("a").received("a").acked("a"), WORKER))
    assert not busy(drain(Story().publish("a").received("a").rejected("a"), WORKER))


def test_not_busy_with_what_a_dead_worker_had_received() -> None:
    """It will not run it."""
    assert not busy(drain(Story().publish("a").received("a").dies()))


def test_busy_when_received_again() -> None:
    """Run once, and received once more: it will run once more."""
    assert busy(drain(Story().publish("a").runs("a").received("a", redelivered=True), WORKER))


def test_forgotten_with_the_connection() -> None:
    """What was received before the connection was lost is not started any more."""
    story = Story().publish("a").received("a").event("connection_lost", role=WORKER)
    story.event("connected", role=WORKER)
    assert not busy(drain(story, WORKER))
    assert busy(drain(story.received("a", redelivered=True), WORKER))


def test_busy_while_a_worker_comes_up() -> None:
    """A replacement that is not ready takes what is there once it is."""
    story = Story().publish("a").received("a").dies()
    assert busy(drain(story, OTHER))
    assert not busy(drain(story.event("worker_ready", role=OTHER), OTHER))


def test_busy_while_a_connection_is_lost() -> None:
    """A worker that seeks its broker will be given messages when it finds it."""
    story = Story().publish("a").runs("a").event("connection_lost", role=WORKER)
    assert busy(drain(story, WORKER))
    assert not busy(drain(story.event("connected", role=WORKER), WORKER))


def test_busy_while_a_retry_runs() -> None:
    """Celery's own retry is a message of its own."""
    story = Story().publish("a").received("a").started("a").finished("a", state="RETRY").acked("a")
    story.publish("a", retries=1).received("a", retries=1)
    assert busy(drain(story, WORKER))


# -- decide: what no worker has in its hands ------------------------------------------------


def test_over_at_once_when_all_is_completed() -> None:
    """And the broker holds nothing: no need to be quiet first."""
    story = Story().publish("a").runs("a")
    assert why(drain(story, WORKER, after_s=0), NOTHING).startswith("every message is completed")


def test_a_publish_that_surely_failed_is_not_waited_for() -> None:
    """It was never sent."""
    story = Story().publish("a", "fail").publish("b").runs("b")
    assert why(drain(story, WORKER, after_s=0), NOTHING).startswith("every message is completed")


def test_a_publish_that_may_have_been_sent_is_waited_for() -> None:
    """Nobody knows of it, so it may still come by; but not for ever."""
    story = Story().publish("a", "info")
    assert decide(drain(story, WORKER, after_s=TRANSIT_S - SOON_S), NOTHING) is None
    assert why(drain(story, WORKER, after_s=TRANSIT_S), NOTHING).startswith("nobody holds")


def test_a_message_nobody_received_may_be_in_transit() -> None:
    """Popped from a Redis list and not noted as unacknowledged yet, or in a socket."""
    story = Story().publish("a")
    assert decide(drain(story, WORKER, after_s=QUIET_S), NOTHING) is None
    assert decide(drain(story, WORKER, after_s=TRANSIT_S - SOON_S), NOTHING) is None
    assert "other 1 messages" in why(drain(story, WORKER, after_s=TRANSIT_S), NOTHING)


def test_a_retry_that_was_published_may_be_in_transit() -> None:
    """The first run came to its end; its retry is not received yet."""
    story = Story().publish("a").publish("a", retries=1)
    story.received("a").started("a").finished("a", state="RETRY").acked("a")
    assert decide(drain(story, WORKER, after_s=QUIET_S), NOTHING) is None


@pytest.mark.parametrize("settled", [False, True])
def test_what_died_with_its_worker_is_gone_soon(settled: bool) -> None:  # noqa: FBT001
    """Received by a worker that is dead, or settled and cut off: it is on its way to nobody."""
    story = Story().publish("a").received("a")
    if settled:
        story.acked("a").started("a").dies(pid=11)
    else:
        story.dies()
    live = [WORKER] if settled else []
    assert decide(drain(story, *live, after_s=QUIET_S - SOON_S), NOTHING) is None
    assert why(drain(story, *live, after_s=QUIET_S), NOTHING).startswith("nobody holds")


def test_what_was_requeued_may_be_in_transit() -> None:
    """Rejected with requeue, it goes back to the broker and out again."""
    story = Story().publish("a").received("a").started("a").dies(pid=11).rejected("a")
    assert decide(drain(story, WORKER, after_s=QUIET_S), NOTHING) is None
    assert decide(drain(story, WORKER, after_s=TRANSIT_S), NOTHING) is not None


def test_what_was_rejected_for_good_is_gone_soon() -> None:
    """Without requeue nobody gets it again."""
    story = Story().publish("a").received("a").rejected("a", requeue=False)
    assert decide(drain(story, WORKER, after_s=QUIET_S), NOTHING) is not None


def test_what_a_live_worker_received_is_waited_for() -> None:
    """It is not settled, and no view shows it: it may come by again."""
    story = Story().publish("a").received("a").started("a").dies(pid=11)
    assert decide(drain(story, WORKER, after_s=QUIET_S), NOTHING) is None


def test_what_was_received_before_the_connection_was_lost_is_gone_soon() -> None:
    """The worker has forgotten it, and the broker holds nothing."""
    story = Story().publish("a").received("a").event("connection_lost", role=WORKER)
    story.event("connected", role=WORKER)
    assert decide(drain(story, WORKER, after_s=QUIET_S), NOTHING) is not None


def test_a_ready_message_is_waited_for() -> None:
    """A live worker will be given it."""
    now = drain(Story().publish("a"), WORKER)
    assert decide(now, view(Held("a", 0, "ready"))) is None
    assert decide(now, view(Held("a", 0, "ready"), unacked("b", now, 9999))) is None


def test_no_worker_is_left() -> None:
    """Nobody will fetch what the broker holds, now or later."""
    now = drain(Story().publish("a").received("a").dies())
    assert why(now, view(Held("a", 0, "ready"))).startswith("no worker is left")
    assert why(now, view(unacked("a", now, 1.0))).startswith("no worker is left")


def test_what_comes_back_soon_is_waited_for() -> None:
    """Redelivery within the patience of the scenario."""
    now = drain(Story().publish("a").received("a").dies().event("worker_ready", role=OTHER), OTHER)
    assert decide(now, view(unacked("a", now, 44.0))) is None


def test_what_comes_back_in_an_hour_is_settled_at_once() -> None:
    """K8: received by a dead worker, back after the visibility timeout: stranded, and known
    to be, without waiting for it."""
    story = Story().publish("a").received("a").dies().event("worker_ready", role=OTHER)
    now = drain(story, OTHER, after_s=QUIET_S)
    assert "come back in 3600 s" in why(now, view(unacked("a", now, 3600.0)))


def test_the_first_to_come_back_counts() -> None:
    """One that comes back soon is waited for, whatever the others do."""
    story = Story().publish("a").publish("b").received("a").received("b").dies()
    now = drain(story.event("worker_ready", role=OTHER), OTHER)
    assert decide(now, view(unacked("a", now, 3600.0), unacked("b", now, 10.0))) is None


def test_patience_that_is_used_up_counts() -> None:
    """What comes back after the trial has given up is not waited for till then."""
    story = Story().publish("a").received("a").dies().event("worker_ready", role=OTHER)
    now = drain(story, OTHER, no_progress_s=40.0)
    assert decide(now, view(unacked("a", now, 4.0))) is None
    assert decide(now, view(unacked("a", now, 6.0))) is not None


def test_no_time_is_set() -> None:
    """Held for a consumer until its connection ends (RabbitMQ): it may come back any moment."""
    now = drain(Story().publish("a").received("a"), WORKER)
    assert decide(now, view(unacked("a", now, None))) is None


def test_a_view_without_names_goes_by_what_was_handed_out() -> None:
    """SQS tells numbers only: each comes back a horizon after it was last received."""
    story = Story().publish("a").received("a").dies().event("worker_ready", role=OTHER)
    late, soon = drain(story, OTHER, horizon_s=3600.0), drain(story, OTHER, horizon_s=70.0)
    assert "come back in 35" in why(late, view(unacked=1, named=False))
    assert decide(soon, view(unacked=1, named=False)) is None


def test_a_view_without_names_that_holds_more_than_we_know_of() -> None:
    """Then no time can be told, and it is waited for."""
    story = Story().publish("a").runs("a").event("worker_ready", role=OTHER)
    assert decide(drain(story, OTHER), view(unacked=1, named=False)) is None


def test_completed_and_still_held() -> None:
    """It would run again: not over, while that can happen within the trial's patience."""
    now = drain(Story().publish("a").received("a").started("a").finished("a"), WORKER)
    assert decide(now, view(unacked("a", now, 10.0))) is None
    assert decide(now, view(unacked("a", now, 100.0))) is not None


def test_not_decided_in_the_middle_of_things() -> None:
    """Something happened just now: what the broker says may be out of date."""
    story = Story().publish("a").received("a").dies().event("worker_ready", role=OTHER)
    now = drain(story, OTHER, after_s=QUIET_S - SOON_S)
    assert decide(now, view(unacked("a", now, 3600.0))) is None


# -- giving up ------------------------------------------------------------------------------


def test_idle_for_the_horizon_is_settled() -> None:
    """Nothing came back within the longest time that redelivery can take, and some grace."""
    story = Story().publish("a").received("a").dies()
    assert gave_up(drain(story, horizon_s=20.0, idle_s=20.0 + GRACE_S)) is None
    settled = gave_up(drain(story, horizon_s=20.0, idle_s=20.1 + GRACE_S))
    assert settled is not None
    assert settled.settled


def test_out_of_patience_is_not_settled() -> None:
    """Giving up short of the horizon proves nothing."""
    story = Story().publish("a").received("a").dies()
    assert gave_up(drain(story, no_progress_s=45.0)) is None
    given_up = gave_up(drain(story, no_progress_s=45.1))
    assert given_up is not None
    assert not given_up.settled


def test_the_horizon_comes_before_patience() -> None:
    """With both passed, the fate of every message is known."""
    settled = gave_up(drain(Story(), horizon_s=20.0, idle_s=50.0, no_progress_s=50.0))
    assert settled is not None
    assert settled.settled


def test_markers_are_nobodys_business() -> None:
    """A marker that is never completed keeps no trial waiting."""
    story = Story().publish("a").runs("a").event("publish_ok", "m", task=MARKER_TASK)
    now = drain(story.event("received", "m", role=WORKER, task=MARKER_TASK), WORKER, after_s=0)
    assert not busy(now)
    assert why(now, NOTHING).startswith("every message is completed")

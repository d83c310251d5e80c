"""When a trial is over: not while waiting can still change something, and not a moment later."""

from __future__ import annotations

from harness.drain import GRACE_S, QUIET_S, TRANSIT_S, Drain, Looks, Settled, busy, gave_up, kept
from harness.drain import decide as decide_on
from harness.model import MARKER_TASK, BrokerView, Held, Horizon
from tests.histories import MAIN, WALL_S, WORKER, Story

OTHER = "worker-1+"
SOON_S = 0.1
"""Too soon after the last event to say anything of a message that is not to be seen."""


def drain(
    story: Story,
    *live: str,
    after_s: float = 60.0,
    horizon_s: float = 3700.0,
    earliest_s: float = 0.0,
    patience_s: float = 45.0,
    no_progress_s: float = 0.0,
    idle_s: float = 0.0,
    bound_in_s: float = 1000.0,
) -> Drain:
    """The situation ``after_s`` after the last event, with these workers alive."""
    history = story.history()
    now_s = history.events[-1].mono_s + after_s
    return Drain(
        history=history,
        live=frozenset(live),
        horizon=Horizon(horizon_s, (), earliest_s),
        patience_s=patience_s,
        now_s=now_s,
        now_at_s=WALL_S + now_s,
        progress_s=now_s - no_progress_s,
        idle_s=now_s - idle_s,
        bound_s=now_s + bound_in_s,
    )


def view(*held: Held, ready: int = 0, unacked: int = 0, named: bool = True) -> BrokerView:
    """What the broker holds; by number where it does not name it."""
    ready += sum(one.where == "ready" for one in held)
    unacked += sum(one.where == "unacked" for one in held)
    return BrokerView(at_s=WALL_S, ready=ready, unacked=unacked, held=held, named=named)


def unacked(task_id: str, now: Drain, back_in_s: float | None) -> Held:
    back_at_s = None if back_in_s is None else now.now_at_s + back_in_s
    return Held(task_id, 0, "unacked", back_at_s, earliest_at_s=back_at_s)


def looks(now: Drain, *views: BrokerView, every_s: float | None = None) -> Looks:
    """The broker was asked at these times, from the last event until now."""
    stirred_s = now.history.events[-1].mono_s
    found = Looks()
    every_s = (now.now_s - stirred_s) / max(1, len(views) - 1) if every_s is None else every_s
    for number, seen in enumerate(views):
        asked_s = now.now_s - (len(views) - 1 - number) * every_s
        asked_s += 1e-9  # the first is asked just after the event, not at its very moment
        found.add(seen, asked_s=asked_s, answered_s=asked_s, stirred_s=stirred_s)
    return found


def decide(now: Drain, seen: BrokerView) -> Settled | None:
    """With two looks that say the same: just after the last event, and now."""
    return decide_on(now, looks(now, seen, seen))


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


def test_busy_until_a_worker_notices_that_its_child_died() -> None:
    """Celery may take seconds; then it acknowledges the message, or gives it back."""
    story = Story().publish("a").received("a").started("a").dies(pid=11)
    assert busy(drain(story, WORKER))
    assert not busy(drain(story.rejected("a"), WORKER))
    again = story.received("a").started("a", pid=12).dies(pid=12)
    assert busy(drain(again, WORKER)), "what it settled was an earlier delivery"
    assert not busy(drain(again.dies()))


def test_not_busy_with_a_child_that_died_under_what_was_settled() -> None:
    """Acknowledged early: there is nothing left to do about it."""
    story = Story().publish("a").received("a").acked("a").started("a").dies(pid=11)
    assert not busy(drain(story, WORKER))


def test_not_busy_with_a_child_that_died_before_the_connection_was_lost() -> None:
    """The worker has forgotten the message, and the broker gives it out again by itself."""
    story = Story().publish("a").received("a").started("a").dies(pid=11)
    story.event("connection_lost", role=WORKER).event("connected", role=WORKER)
    assert not busy(drain(story, WORKER))


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


# -- looks: what was seen, and for how long -------------------------------------------------


def test_one_look_is_none() -> None:
    """However long ago the last event was: what a single look shows may be half of a move."""
    now = drain(Story().publish("a").runs("a"), WORKER)
    assert decide_on(now, Looks()) is None
    assert decide_on(now, looks(now, NOTHING)) is None
    assert decide_on(now, looks(now, NOTHING, NOTHING)) is not None


def test_looks_that_differ_begin_anew() -> None:
    """Something moved, though no event tells of it: quiet counts from the first look after."""
    now = drain(Story().publish("a"), WORKER)
    held = view(Held("a", 0, "ready"))
    every_s = TRANSIT_S / 2 + SOON_S
    assert decide_on(now, looks(now, held, NOTHING, NOTHING, every_s=every_s)) is None
    assert decide_on(now, looks(now, NOTHING, NOTHING, NOTHING, every_s=every_s)) is not None


def test_looks_that_name_others_differ() -> None:
    """One for one: the number is the same, and what is held is not."""
    now = drain(Story().publish("a").publish("b").received("a").dies())
    first, then = view(unacked("a", now, 3600.0)), view(unacked("b", now, 3600.0))
    assert decide_on(now, looks(now, first, then)) is None
    assert decide_on(now, looks(now, then, then)) is not None


def test_an_event_makes_earlier_looks_worthless() -> None:
    """A worker received the message between the two looks: they said nothing is held, and it
    was, in its hands. Events are read after each look, so this is seen."""
    story = Story().publish("a").received("a").acked("a").started("a").dies(pid=11)
    now = drain(story, WORKER)
    before, after = Looks(), Looks()
    for seen, moved_s in ((before, 1.0), (after, 0.0)):
        for asked_s, stirred_s in ((10.0, 9.0), (10.0 + TRANSIT_S, 9.0 + moved_s * TRANSIT_S)):
            seen.add(NOTHING, asked_s=asked_s, answered_s=asked_s, stirred_s=stirred_s)
    assert decide_on(now, before) is None
    assert decide_on(now, after) is not None


def test_a_look_during_which_something_happened_is_none() -> None:
    """It was asked before, and what happened was read after: not even the first of two."""
    now = drain(Story().publish("a").runs("a"), WORKER)
    seen = Looks()
    seen.add(NOTHING, asked_s=10.0, answered_s=10.1, stirred_s=10.05)
    seen.add(NOTHING, asked_s=20.0, answered_s=20.1, stirred_s=10.05)
    assert decide_on(now, seen) is None
    seen.add(NOTHING, asked_s=20.2, answered_s=20.3, stirred_s=10.05)
    assert decide_on(now, seen) is not None


def test_after_a_fault_the_quiet_begins_when_it_ends() -> None:
    """A stall of ten seconds: no event for all that time, and the message is in the proxy. Its
    end stirs, so nothing is decided on what was quiet before."""
    now = drain(Story().publish("a"), WORKER, after_s=10.0)
    healed_s = now.now_s - 0.2
    seen = Looks()
    for asked_s in (now.now_s - 0.15, now.now_s):
        seen.add(NOTHING, asked_s=asked_s, answered_s=asked_s, stirred_s=healed_s)
    assert decide_on(now, seen) is None


def test_work_makes_looks_worthless() -> None:
    """While somebody was busy, nothing was decided; afterwards it begins anew."""
    now = drain(Story().publish("a").runs("a"), WORKER)
    seen = looks(now, NOTHING, NOTHING)
    seen.forget()
    assert decide_on(now, seen) is None
    seen.add(NOTHING, asked_s=now.now_s, answered_s=now.now_s, stirred_s=0.0)
    assert decide_on(now, seen) is None


# -- decide: what no worker has in its hands ------------------------------------------------


def test_over_at_the_second_look_when_all_is_completed() -> None:
    """And settled, and the broker holds nothing: no need to be quiet for long."""
    story = Story().publish("a").runs("a")
    assert why(drain(story, WORKER, after_s=0), NOTHING).startswith("every message is completed")


def test_completed_and_not_settled_may_come_by_again() -> None:
    """Its worker died before it could acknowledge: if nobody is seen to hold it, somebody has
    popped it, and is about to run it again."""
    story = Story().publish("a").received("a").started("a").finished("a").dies()
    story.event("worker_ready", role=OTHER)
    assert decide(drain(story, OTHER, after_s=TRANSIT_S - SOON_S), NOTHING) is None
    assert why(drain(story, OTHER, after_s=TRANSIT_S), NOTHING).startswith("every message")


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


def test_what_was_settled_and_cut_off_is_gone_soon() -> None:
    """Acknowledged early, and its process died: it is on its way to nobody."""
    story = Story().publish("a").received("a").acked("a").started("a").dies(pid=11)
    assert decide(drain(story, WORKER, after_s=QUIET_S - SOON_S), NOTHING) is None
    assert why(drain(story, WORKER, after_s=QUIET_S), NOTHING).startswith("nobody holds")


def test_what_died_with_its_worker_may_be_on_its_way_to_another() -> None:
    """Not settled, and nobody holds it: it was given back, and popped again. With no worker
    left, nobody can have popped it."""
    story = Story().publish("a").received("a").dies()
    assert why(drain(story, after_s=QUIET_S), NOTHING).startswith("nobody holds")
    story.event("worker_ready", role=OTHER)
    assert decide(drain(story, OTHER, after_s=TRANSIT_S - SOON_S), NOTHING) is None
    assert why(drain(story, OTHER, after_s=TRANSIT_S), NOTHING).startswith("nobody holds")


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


def test_what_was_received_before_the_connection_was_lost_may_come_again() -> None:
    """The worker has forgotten it; if the broker does not hold it, somebody has it."""
    story = Story().publish("a").received("a").event("connection_lost", role=WORKER)
    story.event("connected", role=WORKER)
    assert decide(drain(story, WORKER, after_s=TRANSIT_S - SOON_S), NOTHING) is None
    assert decide(drain(story, WORKER, after_s=TRANSIT_S), NOTHING) is not None


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


def test_the_earliest_return_decides_and_not_the_latest() -> None:
    """Visible already, and a restore pass may come any moment within 100 s: it is waited for."""
    story = Story().publish("a").received("a").dies().event("worker_ready", role=OTHER)
    now = drain(story, OTHER)
    late_s = now.now_at_s + 99.0
    soon = Held("a", 0, "unacked", late_s, earliest_at_s=now.now_at_s + 1.0)
    any_moment = Held("a", 0, "unacked", late_s)
    assert decide(now, view(soon)) is None
    assert decide(now, view(any_moment)) is None


def test_no_time_is_set() -> None:
    """Held for a consumer until its connection ends (RabbitMQ): it may come back any moment."""
    now = drain(Story().publish("a").received("a"), WORKER)
    assert decide(now, view(unacked("a", now, None))) is None


def test_a_view_without_names_goes_by_what_was_handed_out() -> None:
    """SQS tells numbers only: each comes back a visibility timeout after it was last received,
    at the earliest; RabbitMQ gives back what a closed connection held at once."""
    story = Story().publish("a").received("a").dies().event("worker_ready", role=OTHER)
    late = drain(story, OTHER, earliest_s=3600.0)
    soon, at_once = drain(story, OTHER, earliest_s=70.0), drain(story, OTHER)
    assert decide(at_once, view(unacked=1, named=False)) is None
    assert "come back in 35" in why(late, view(unacked=1, named=False))
    assert decide(soon, view(unacked=1, named=False)) is None


def given_back(story: Story, in_s: float) -> Story:
    return story.event("given_back", "a", role=WORKER, by=MAIN, back_in_s=in_s)


def test_what_a_worker_gave_back_is_out_again_when_it_said() -> None:
    """SQS, at a worker's orderly end or when a message is requeued: after the time of a long poll,
    not after its visibility timeout of half an hour. Until somebody receives it anew."""
    story = Story().publish("a").received("a")
    given_back(story, 73.0).rejected("a").dies().event("worker_ready", role=OTHER)
    now = drain(story, OTHER, earliest_s=1800.0, after_s=10.0)
    assert "come back in 60 s" in why(now, view(unacked=1, named=False))
    soon = given_back(Story().publish("a").received("a"), 10.0).dies()
    soon.event("worker_ready", role=OTHER)
    assert decide(drain(soon, OTHER, earliest_s=1800.0), view(unacked=1, named=False)) is None
    soon.received("a", OTHER).dies(OTHER).event("worker_ready", role=OTHER + "+")
    now = drain(soon, OTHER + "+", earliest_s=1800.0, after_s=10.0)
    assert "come back in 1788 s" in why(now, view(unacked=1, named=False))


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


def test_what_is_seen_to_be_held_is_not_on_its_way() -> None:
    """The others are: one that is held does not make the rest known."""
    story = Story().publish("a").publish("b").received("a").received("b").dies()
    now = drain(story.event("worker_ready", role=OTHER), OTHER, after_s=TRANSIT_S - SOON_S)
    both = view(unacked("a", now, 3600.0), unacked("b", now, 3600.0))
    assert decide(now, both) is not None
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


def test_what_is_to_come_later_than_the_horizon_is_not_overdue() -> None:
    """A restore lock that a dead worker left: the horizon is over, and the broker still tells a
    time. The scenario's patience decides."""
    story = Story().publish("a").received("a").dies()
    now = drain(story, horizon_s=4.0, idle_s=20.0, no_progress_s=20.0)
    assert gave_up(now, view(unacked("a", now, 5.0))) is None
    assert gave_up(now, view(unacked("a", now, None))) is not None
    assert gave_up(now, NOTHING) is not None


# -- what never ends ------------------------------------------------------------------------


def test_a_message_that_kills_its_process_each_time_is_named() -> None:
    """Every start is progress, so nothing else would ever end the trial. All others are done."""
    story = Story().publish("b").runs("b").publish("a")
    for _ in range(20):
        story.received("a").started("a").dies(pid=11).rejected("a")
    now = drain(story, WORKER, after_s=1.0)
    settled = gave_up(now)
    assert settled is not None
    assert settled.settled
    assert settled.why == "a (ledger.app.charge) was started 20 times and never came to its end"
    fewer = Drain(
        **{name: getattr(now, name) for name in now.__struct_fields__} | {"attempts_max": 21}
    )
    assert gave_up(fewer) is None


def looped(story: Story, times: int = 25) -> Story:
    for _ in range(times):
        story.received("a").started("a").dies(pid=11).rejected("a")
    return story


def test_a_message_that_loops_is_no_end_for_the_others() -> None:
    """One that a worker has had may still be done, and one that came later may be next."""
    taken = looped(Story().publish("b").received("b").publish("a"))
    later = looped(Story().publish("a")).publish("b").received("a").started("a").dies(pid=11)
    unsure = looped(Story().publish("b", "info").publish("a"))
    for story in (taken, later, unsure):
        assert gave_up(drain(story, WORKER)) is None


def test_a_message_that_loops_in_front_of_others() -> None:
    """RabbitMQ puts it back in front: what was there before its second run was passed over by every
    run since, and is so for ever (K4 with one slot)."""
    story = looped(Story().publish("b").publish("c").publish("a"))
    settled = gave_up(drain(story, WORKER))
    assert settled is not None
    assert settled.looping == ("a", 0)
    assert settled.why.endswith("never came to its end, before 2 that were there earlier")


def test_a_message_that_ends_and_runs_again_for_ever_is_named() -> None:
    """Its task outlasts the visibility timeout: each run ends well, and another begins."""
    story = Story().publish("a")
    for _ in range(20):
        story.received("a").started("a").finished("a")
    settled = gave_up(drain(story, WORKER))
    assert settled is not None
    assert settled.why == "a (ledger.app.charge) was started 20 times"


def test_a_trial_ends_at_its_bound_and_says_what_loops() -> None:
    """A task that retries for ever is a new message each time, and each is completed."""
    story = Story().publish("u")
    for retry in range(30):
        story.received("u", retries=retry).started("u", retries=retry)
        story.publish("u", retries=retry + 1)
        story.finished("u", retries=retry, state="RETRY").acked("u", retries=retry)
    assert gave_up(drain(story, WORKER, after_s=0.3)) is None
    settled = gave_up(drain(story, WORKER, after_s=0.3, bound_in_s=0.0))
    assert settled is not None
    assert not settled.settled
    assert "ledger.app.charge was started 30 times" in settled.why


def test_a_bound_without_a_start_says_so() -> None:
    """Nothing to name."""
    settled = gave_up(drain(Story().publish("a"), WORKER, bound_in_s=-1.0))
    assert settled is not None
    assert "nothing was ever started" in settled.why


def test_markers_are_nobodys_business() -> None:
    """A marker that is never completed keeps no trial waiting."""
    story = Story().publish("a").runs("a").event("publish_ok", "m", task=MARKER_TASK)
    now = drain(story.event("received", "m", role=WORKER, task=MARKER_TASK), WORKER, after_s=0)
    assert not busy(now)
    assert why(now, NOTHING).startswith("every message is completed")


def test_a_worker_that_is_ending_may_give_back_what_it_holds() -> None:
    """An exception in its main loop ends a worker a second later, and only at the very end of that
    its connection closes, which gives back what it had fetched (Redis: it was noted, and not yet
    received). Until it is gone, nothing is stranded; and if it never goes, the drain gives up."""
    story = Story().publish("a").event("worker_stopping", role=WORKER, how="stop")
    assert busy(drain(story, WORKER))
    assert gave_up(drain(story, WORKER, no_progress_s=46)) is not None
    gone = drain(story.dies().event("worker_ready", role=OTHER), OTHER)
    assert not busy(gone)
    back = unacked("a", gone, 3600)
    assert why(gone, view(back)).startswith("the other 1 messages come back in 3600 s")


def test_what_a_living_worker_keeps() -> None:
    """Received and neither settled nor given back; not what a dead one had."""
    story = Story().publish("a").runs("a").received("b").started("b").finished("b")
    story.received("c", OTHER).acked("c", OTHER).received("d").rejected("d", requeue=False)
    story.received("e").rejected("e")
    assert {one.task_id for one in kept(story.history(), frozenset({WORKER, OTHER}))} == {"b"}
    assert kept(story.history(), frozenset({OTHER})) == frozenset()


def test_a_child_that_died_after_its_body_has_still_to_be_noticed() -> None:
    """The body had returned: the message is complete, and its worker, which lives, acknowledges it
    when it looks after its pool, seconds later. Until then nothing tells that it is still held."""
    for last in ("returned", "finished"):
        story = Story().publish("a").received("a").started("a").note(last, "a").dies(pid=11)
        assert busy(drain(story, WORKER)), last
        assert not busy(drain(story.acked("a"), WORKER)), last
    settled = Story().publish("a").runs("a").dies(pid=11)  # as after its last task, by its plan
    assert not busy(drain(settled, WORKER))
    story = Story().publish("a").received("a").started("a").note("returned", "a").dies(pid=11)
    assert not busy(drain(story.dies().event("worker_ready", role=OTHER), OTHER))

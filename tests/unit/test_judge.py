"""The verdict: what makes a trial unknown, what dominates, and the known incidents."""

from __future__ import annotations

import pytest
from msgspec import Struct

from harness.checks.duplicate_executions_at_most import duplicate_executions_at_most
from harness.checks.no_duplicate_effects import no_duplicate_effects
from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_stranded_tasks import no_stranded_tasks
from harness.checks.no_unexpected_tasks import no_unexpected_tasks
from harness.history import History
from harness.judge import Judgement, judge
from harness.model import Outcome, Verdict
from harness.protocols import Check
from tests.histories import LEADER, WORKER, Story

HOLDS, BROKEN, UNKNOWN = Outcome.HOLDS, Outcome.BROKEN, Outcome.UNKNOWN
CLAIMS: tuple[Check, ...] = (no_lost_tasks(), no_stranded_tasks(), no_unexpected_tasks())


class Says(Struct, frozen=True):
    """A check that says what it is told to."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()

    def judge(self, history: History) -> Verdict:
        del history
        return Verdict(self.outcome, self.reasons)


def calm() -> Story:
    """A trial to which there is nothing to say, up to its drain."""
    return Story().publish("a").runs("a")


def killed(*, victims: tuple[int, ...] = (LEADER, 11), landed: bool = True) -> Story:
    """The worker is killed in the middle of a task, which its replacement runs again."""
    story = Story()
    story.planned()
    story.publish("a").received("a").started("a").fires().dies().done(
        landed=landed, victims=victims
    )
    return story.runs("a", "worker-1+", pid=21)


def doubts(story: Story, *checks: Check) -> tuple[str, ...]:
    """Why the trial is unknown."""
    verdict = story.verdict(*checks)
    assert verdict.outcome is UNKNOWN
    return verdict.reasons


# -- what dominates ----------------------------------------------------------------------


def test_nothing_to_say_holds() -> None:
    """No doubt and no check that objects: it holds, without reasons."""
    assert calm().ends().verdict(*CLAIMS) == Verdict(HOLDS)
    assert killed().ends().verdict(*CLAIMS) == Verdict(HOLDS)


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ((HOLDS, HOLDS), HOLDS),
        ((HOLDS, UNKNOWN), UNKNOWN),
        ((UNKNOWN, BROKEN), BROKEN),
        ((BROKEN, UNKNOWN), BROKEN),
        ((BROKEN, HOLDS), BROKEN),
    ],
)
def test_broken_dominates_and_unknown_never_passes(
    outcomes: tuple[Outcome, ...], verdict: Outcome
) -> None:
    """One broken check breaks the trial; short of that, one unknown leaves it unknown."""
    checks = [Says(outcome, (outcome.value,)) for outcome in outcomes]
    assert judge(calm().ends().history(), checks).verdict.outcome is verdict


def test_reasons_are_the_broken_ones_first() -> None:
    """What broke, then what was in doubt; each once; what holds has nothing to say."""
    checks = [
        Says(UNKNOWN, ("u",)),
        Says(BROKEN, ("b",)),
        Says(HOLDS, ("h",)),
        Says(UNKNOWN, ("u",)),
        Says(BROKEN),
    ]
    verdict = judge(calm().ends().history(), checks).verdict
    assert verdict == Verdict(BROKEN, ("b", "broken", "u"))
    assert judge(calm().ends().history(), checks[:1]).verdict == Verdict(UNKNOWN, ("u",))


def test_a_trial_in_doubt_can_still_be_broken() -> None:
    """A lost message is lost, whatever else went wrong; the doubts are told after it."""
    story = Story().publish("a").event("trial_error", why="the disk is full").ends()
    verdict = story.verdict(*CLAIMS)
    assert verdict.outcome is BROKEN
    assert verdict.reasons[0].startswith("1 lost")
    assert verdict.reasons[1:] == ("the disk is full",)


# -- every reason for unknown ------------------------------------------------------------


def test_the_baseline_was_not_met() -> None:
    """No worker showed that it can run anything: one reason, not a list of what follows."""
    assert doubts(Story(baseline=False), Says(HOLDS)) == (
        "baseline not met: no worker completed its marker task",
    )


def test_what_went_wrong_says_more_than_the_baseline() -> None:
    """The reason is the error; that the baseline was not met follows from it."""
    story = Story(baseline=False).event("trial_error", why="worker-1 ended at start")
    assert doubts(story) == ("worker-1 ended at start",)


def test_an_error_in_the_trial() -> None:
    """Whatever the trial itself stumbled over; all of them."""
    story = calm().event("trial_error", why="x").event("trial_error", why="y").ends()
    assert doubts(story, *CLAIMS) == ("x", "y")


def test_a_fault_that_never_fired() -> None:
    """Its trigger did not come."""
    story = calm()
    story.planned()
    assert doubts(story.ends(), *CLAIMS) == (
        "sigkill on worker never fired: its trigger step(started, nth=1) did not come",
    )


def test_a_fault_that_did_not_land() -> None:
    """It fired, and says itself why it did nothing."""
    story = Story()
    story.planned()
    story.publish("a").started("a").fires().done(landed=False, why_not="it had ended").finished("a")
    assert doubts(story.ends()) == ("sigkill on worker did not land: it had ended",)


def test_a_fault_without_evidence_did_not_land() -> None:
    """It fired, and nothing was heard of it again."""
    story = Story()
    story.planned()
    story.publish("a").started("a").fires().finished("a")
    assert doubts(story.ends()) == ("sigkill on worker did not land: no evidence",)


def test_a_fault_that_hit_nothing() -> None:
    """It killed a worker that was doing nothing: that proves nothing."""
    story = calm()
    story.planned()
    story.fires().dies().done(victims=[LEADER, 11])
    assert doubts(story.ends()) == ("sigkill on worker hit no message in the middle of its task",)


def test_each_fault_must_hit() -> None:
    """Two faults: one that hit does not vouch for the other, whatever their order."""
    story = Story()
    story.planned()
    story.planned("reset", "link", kills=False)
    story.publish("a").started("a").fires(0).dies().done(0, victims=[LEADER, 11])
    story.runs("a", "worker-1+", pid=21).fires(1).done(1)
    assert doubts(story.ends()) == ("reset on link hit no message in the middle of its task",)


def test_a_drain_that_gave_up() -> None:
    """Waiting longer might have changed the answer."""
    story = calm().drained(settled=False, why="no progress for 45 s").broker_holds()
    assert doubts(story) == ("the drain ended unsettled: no progress for 45 s",)


def test_a_trial_that_was_cut_short() -> None:
    """No end of the drain, so no verdict; what else is missing follows from that."""
    assert doubts(calm()) == ("the trial did not get to the end of its drain",)


def test_a_broker_that_was_not_asked() -> None:
    """Nobody looked at what it holds at the end: one reason, from trial and check."""
    assert doubts(calm().drained(), *CLAIMS) == ("the broker could not be asked what it holds",)


def test_a_broker_that_cannot_name_what_it_holds() -> None:
    """What is held might be anything that is missing."""
    story = calm().drained()
    story.broker_holds(story.ready("a"), unnamed=2)
    assert doubts(story) == (
        "the broker holds 1 ready and 2 unacknowledged messages, of which only 1 could be named",
    )


def test_a_probe_that_could_not_write() -> None:
    """Events are missing; each process that says so is named once."""
    story = calm()
    for pid in (12, 11, 12):
        story.event("received", "a", role=WORKER, by=pid, events_missed_before=2)
    assert doubts(story.ends()) == (
        "the probe of pid 11 could not write some of its events",
        "the probe of pid 12 could not write some of its events",
    )


def test_nothing_was_published() -> None:
    """An empty trial loses nothing and proves nothing."""
    assert doubts(Story().ends(), *CLAIMS) == ("the producer published nothing",)


# -- what a fault hit --------------------------------------------------------------------


def hits(story: Story, index: int = 0) -> list[tuple[object, object, object]]:
    fault = story.judged().faults[index]
    return [(hit["task_id"], hit["retries"], hit["step"]) for hit in fault.hit]


def test_the_record_of_a_fault() -> None:
    """What was planned, when it fired, counted from the first publish, and its evidence."""
    story = Story().at(5).publish("a").started("a")
    story.planned("spot", "worker")
    story.at(20.0004).fires().dies().done(victims=[LEADER, 11])
    (fault,) = story.ends().judged().faults
    assert (fault.kind, fault.target, fault.trigger) == ("spot", "worker", "step(started, nth=1)")
    assert (fault.fired_at_s, fault.landed) == (15.0, True)
    assert fault.evidence == {"victims": [LEADER, 11]}
    assert fault.hit == [{"task_id": "a", "retries": 0, "step": "started", "fate": "lost"}]


def test_the_record_of_a_fault_that_did_not_happen() -> None:
    """No time, no evidence, no hit; and one that failed says why."""
    story = Story().publish("a").started("a")
    story.planned()
    story.planned()
    story.fires(1).done(1, landed=False, why_not="no such process", victims=[])
    first, second = story.ends().judged().faults
    assert (first.fired_at_s, first.landed, first.evidence, first.hit) == (None, False, {}, [])
    assert second.evidence == {"victims": [], "why_not": "no such process"}
    assert (second.landed, second.hit) == (False, [])


def test_a_kill_hits_the_bodies_it_cut_off() -> None:
    """Two were running, at different steps; one had ended; one only waited."""
    story = Story()
    story.planned()
    for task_id in "abcd":
        story.publish(task_id).received(task_id)
    story.started("a", pid=11).effect("a", pid=11).started("b", pid=12)
    story.started("c", pid=13).finished("c", pid=13)
    story.fires().dies().done(victims=[LEADER, 11, 12, 13])
    assert hits(story.ends()) == [("a", 0, "effect"), ("b", 0, "started")]


def test_a_kill_does_not_hit_another_workers_run() -> None:
    """What died elsewhere at the same time was not in a victim's process."""
    story = Story()
    story.planned()
    story.publish("a").started("a", "worker-2", pid=21).fires().dies("worker-2", pid=21)
    assert hits(story.done(victims=[LEADER, 11]).ends()) == []


def test_a_kill_does_not_hit_what_died_long_before() -> None:
    """The victim's pid had belonged to another process, whose run was cut off by another
    death; nor what was cut off after it was over."""
    story = Story()
    story.planned()
    story.publish("a").publish("b").at(10).started("a", pid=11).at(12).dies(pid=11)
    story.at(17.5).fires().at(18).done(victims=[11])
    story.at(19).started("b", pid=11).dies(pid=11)
    assert hits(story.ends()) == []


def test_a_death_as_the_kill_was_done_is_its_own() -> None:
    """Dated to the very moment at which the fault was done."""
    story = Story()
    story.planned()
    story.publish("a").at(10).started("a", pid=11).fires().at(13).dies(pid=11)
    assert hits(story.at(13).done(victims=[11]).ends()) == [("a", 0, "started")]


def test_a_death_that_was_dated_back_still_is_this_kills() -> None:
    """A poll that notices the death dates it to the poll before, which may lie before the
    fault fired."""
    story = Story()
    story.planned()
    story.publish("a").at(10).started("a", pid=11).at(11).dies(pid=11).at(11.02).fires()
    assert hits(story.done(victims=[11]).ends()) == [("a", 0, "started")]


def test_a_kill_after_a_notice_hits_what_began_meanwhile() -> None:
    """Started after the fault fired and before it was done, and cut off by it."""
    story = Story()
    story.planned("spot")
    story.publish("a").at(10).fires().at(12).started("a").effect("a").at(20).dies()
    assert hits(story.done(victims=[LEADER, 11]).ends()) == [("a", 0, "effect")]


def test_a_kill_without_a_list_of_victims_hits_nothing() -> None:
    """No evidence of who died: no claim of what was hit."""
    story = Story()
    story.planned()
    story.publish("a").started("a").fires().dies().done()
    assert hits(story.ends()) == []


def test_a_network_fault_hits_the_bodies_running_when_it_began() -> None:
    """One was running; one had ended, one began later. How far it had come is as of then."""
    story = Story()
    story.planned("stall", "link", kills=False)
    story.publish("a").publish("b").publish("c").started("b", pid=12).finished("b", pid=12)
    story.started("a", pid=11).fires().effect("a", pid=11).started("c", pid=13).done()
    assert hits(story.ends()) == [("a", 0, "started")]


def test_a_shutdown_hits_what_its_worker_had_in_its_hands() -> None:
    """What it ran, and what it had received and not settled; as far as each had come when it was
    told, and of nobody else's."""
    story = Story()
    story.planned("shutdown", kills=False)
    for task_id in "abcde":
        story.publish(task_id)
    story.received("d").started("d", pid=13).finished("d", pid=13).acked("d")  # done with
    story.received("a").acked("a").started("a", pid=11)  # acks early, running
    story.received("b").received("c", "worker-2").received("e").started("e", pid=12)
    story.fires().effect("a", pid=11)
    told_s = story.history().events[-1].mono_s + 0.5
    story.wait(1.0).effect("e", pid=12).received("c").done(told_role=WORKER, told_mono_s=told_s)
    hit = {task_id: last for task_id, _, last in hits(story.ends())}
    assert hit == {"a": "effect", "b": "received", "e": "started"}


# -- the rest of a judgement -------------------------------------------------------------


def test_a_judgement_counts_and_times() -> None:
    """The same numbers as the counting gives, and the horizon's derivation."""
    story = calm().event("horizon", seconds=21.0, derivation=["VT 3 s", "restore 18 s"]).ends()
    judged = story.judged()
    assert judged.counts == story.counts()
    assert judged.timings.horizon_s == 21.0
    assert judged.horizon == ("VT 3 s", "restore 18 s")
    assert calm().ends().judged().horizon == ()


def test_the_stranded_are_listed_with_their_return() -> None:
    """Counted from the end of the trial; None where the broker sets no time."""
    story = Story().publish("a").publish("b", retries=1)
    held = (
        story.unacked("a", back_in_s=3612.04, why="visibility timeout"),
        story.ready("b", retries=1),
    )
    first, second = story.ends(*held).judged().stranded
    assert (first.task_id, first.where, first.why) == ("a", "unacked", "visibility timeout")
    assert first.back_in_s == 3612.0
    assert (second.task_id, second.retries, second.back_in_s) == ("b", 1, None)


# -- known incidents (INCIDENTS.md), as their histories are ------------------------------


def incident(target: str = "worker") -> Story:
    story = Story()
    story.planned("sigkill", target)
    return story


def known(story: Story, **counts: int) -> Judgement:
    """Judge it; every count not named is zero but for the publishes and completions."""
    judged = story.judged(*CLAIMS)
    found = {
        name: getattr(judged.counts, name)
        for name in (
            "lost",
            "stranded",
            "late",
            "duplicate_executions",
            "overlapping_executions",
            "unexpected",
            "redelivery_pending",
            "completed",
        )
    }
    assert found == dict.fromkeys(found, 0) | counts
    return judged


def test_k1_acks_early_child_killed() -> None:
    """K1: the message was acked when the child took it; the child is dead: lost."""
    story = incident("child").publish("a").received("a").acked("a").started("a")
    story.fires().dies(pid=11).failed("a", exception="WorkerLostError").done(victims=[11])
    assert known(story.ends(), lost=1).verdict.outcome is BROKEN


def test_k2_acks_late_alone_child_killed() -> None:
    """K2: acked on failure by the main process, once the child was dead: lost."""
    story = incident("child").publish("a").received("a").started("a").fires().dies(pid=11)
    story.failed("a", exception="WorkerLostError").acked("a").done(victims=[11])
    judged = known(story.ends(), lost=1)
    assert judged.verdict.outcome is BROKEN
    assert judged.faults[0].hit[0]["step"] == "started"


def test_k3_acks_late_and_reject_child_killed() -> None:
    """K3: rejected, requeued, and run by the other child: two starts, one end."""
    story = incident("child").publish("a").received("a").started("a").fires().dies(pid=11)
    story.rejected("a").done(victims=[11]).runs("a", pid=12).ends()
    assert known(story, duplicate_executions=1, completed=1).verdict.outcome is HOLDS


def test_k6_rabbitmq_acks_late_main_killed() -> None:
    """K6: redelivered at once, to a worker that starts it before anybody had noted the
    death: two starts, one end, and they did not overlap."""
    story = incident().publish("a").received("a").at(20).started("a").at(21).fires()
    story.at(21.001).dies(pid=11).at(21.002).received("a", "worker-2", redelivered=True)
    story.at(21.003).started("a", "worker-2", pid=21).at(21.004).dies()
    story.done(victims=[LEADER, 11]).finished("a", "worker-2", pid=21).acked("a", "worker-2")
    assert known(story.ends(), duplicate_executions=1, completed=1).verdict.outcome is HOLDS


def test_k7_acks_early_main_killed() -> None:
    """K7: acked, running, and its worker dead: lost, though the broker was asked."""
    story = incident().publish("a").received("a").acked("a").started("a").fires().dies()
    assert known(story.done(victims=[LEADER, 11]).ends(), lost=1).verdict.outcome is BROKEN


def test_k8_redis_acks_late_main_killed() -> None:
    """K8: unacknowledged for up to an hour and a hundred seconds: stranded, with the time of
    its return, and never lost."""
    story = incident().publish("a").received("a").started("a").fires().dies()
    story.done(victims=[LEADER, 11])
    held = story.unacked("a", back_in_s=3700, why="visibility timeout 3600 s, restore 100 s")
    judged = known(story.ends(held), stranded=1)
    assert judged.stranded[0].back_in_s == 3700.0
    assert judged.verdict.outcome is BROKEN
    assert story.verdict(no_lost_tasks()).outcome is HOLDS
    assert story.verdict(duplicate_executions_at_most(0)).outcome is UNKNOWN


@pytest.mark.parametrize(("broker", "lost", "stranded"), [("redis", 1, 4), ("rabbitmq", 1, 0)])
def test_k10_prefetched_messages(broker: str, lost: int, stranded: int) -> None:
    """K10: of five, the acked one is lost; the four prefetched are stranded with Redis and
    requeued with RabbitMQ."""
    story = incident()
    names = "abcde"
    for name in names:
        story.publish(name).received(name)
    story.acked("a").started("a").fires().dies().done(victims=[LEADER, 11])
    if broker == "redis":
        story.ends(*(story.unacked(name, back_in_s=3700) for name in names[1:]))
        known(story, lost=lost, stranded=stranded)
    else:
        for name in names[1:]:
            story.received(name, "worker-1+", redelivered=True).acked(name, "worker-1+")
            story.started(name, "worker-1+", pid=21).finished(name, "worker-1+", pid=21)
        known(story.ends(), lost=lost, stranded=stranded, completed=4)


def test_k14_a_child_a_task() -> None:
    """K14: forty tasks, each in a child that then exits of itself: forty, once."""
    story = Story()
    for number in range(40):
        story.publish(f"task-{number}")
    for number in range(40):
        story.runs(f"task-{number}", pid=100 + number).dies(pid=100 + number, signal=0)
    story.effects(*(f"task-{number}" for number in range(40))).ends()
    assert known(story, completed=40).verdict.outcome is HOLDS
    assert story.verdict(no_duplicate_effects(), duplicate_executions_at_most(0)).outcome is HOLDS


def test_s1_sqs_acks_late_main_killed() -> None:
    """S1: back after the visibility timeout, and run by the replacement: completed, twice
    started, and late where the scenario allows less."""
    story = Story(late_after_s=20)
    story.planned()
    story.publish("a").received("a").started("a").fires().dies().done(victims=[LEADER, 11])
    story.wait(30).runs("a", "worker-1+", pid=21).ends()
    assert known(story, duplicate_executions=1, completed=1, late=1).verdict.outcome is HOLDS


def test_a_return_in_the_past_is_a_contradiction() -> None:
    """Held, and to be back eight seconds ago: one of the two is wrong, so nothing is concluded
    and no negative time is shown."""
    story = Story().publish("a").received("a").started("a").dies()
    judged = story.ends(story.unacked("a", back_in_s=-8.0, why="a restore pass")).judged(
        no_lost_tasks(), no_stranded_tasks()
    )
    assert judged.verdict.outcome is Outcome.UNKNOWN
    assert any("a was to be back" in why for why in judged.verdict.reasons)
    assert judged.stranded[0].back_in_s is None


def test_what_loops_is_named_where_it_is_stranded() -> None:
    """That it comes back in four seconds is true, and not the point."""
    story = Story().publish("a").received("a").started("a").dies(pid=11)
    why = "a (ledger.app.charge) was started 20 times and never came to its end"
    story.event("drain_ended", settled=True, loops=True, why=why)
    verdict = story.broker_holds(story.unacked("a", back_in_s=4.0)).verdict(no_stranded_tasks())
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.reasons[0].endswith(why)


def test_the_message_that_waited_at_the_step_was_hit() -> None:
    """Popped, and no body begun: no execution is cut off, and the fault has hit it all the same;
    with it, the body that its worker ran meanwhile."""
    story = Story()
    story.planned()
    story.publish("a").publish("b").received("b").started("b")
    story.fires(at="a", step="taken").dies(pid=11).done(victims=[LEADER, 11]).ends()
    (fault,) = story.judged().faults
    assert [(hit["task_id"], hit["step"]) for hit in fault.hit] == [
        ("a", "taken"),
        ("b", "started"),
    ]


def test_what_waited_and_was_cut_off_is_hit_once() -> None:
    """The one that came to the step is the one whose body died."""
    story = Story()
    story.planned()
    story.publish("a").received("a").started("a")
    story.fires(at="a", step="effect").dies(pid=11).done(victims=[11]).ends()
    (fault,) = story.judged().faults
    assert [(hit["task_id"], hit["step"]) for hit in fault.hit] == [("a", "effect")]


def test_a_probe_that_could_not_watch_puts_the_trial_in_doubt() -> None:
    """A hook that failed is no step that was not reached."""
    story = Story().publish("a").runs("a")
    story.event("probe_failed", role=WORKER, where="kombu.message", error="AttributeError()")
    verdict = story.ends().verdict(no_lost_tasks())
    assert verdict.outcome is Outcome.UNKNOWN
    assert "could not watch kombu.message: AttributeError()" in verdict.reasons[0]

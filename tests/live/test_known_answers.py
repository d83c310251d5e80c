"""Published incidents whose outcome is known, run for real: a verdict that differs is a bug
of ours or news. The ids are those of the project's list of incidents (K: any broker, Q:
RabbitMQ, S: SQS).
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_stranded_tasks import no_stranded_tasks
from harness.faults.sigkill import sigkill
from harness.model import Outcome, Settings, step
from harness.plugin import Result, RunTrial
from harness.record import TrialRecord
from harness.scenario import Scenario

MID_TASK = step("effect", nth=1)
ACKS_LATE: dict[str, object] = {"task_acks_late": True, "worker_prefetch_multiplier": 1}
REJECT: dict[str, object] = {**ACKS_LATE, "task_reject_on_worker_lost": True}


def every_broker(test: Callable[..., None]) -> Callable[..., None]:
    """With Celery's own defaults, but for what the scenario sets."""
    marked: Callable[..., None] = pytest.mark.ackproof(profiles=["default"])(test)
    return marked


def only(broker: str) -> pytest.MarkDecorator:
    return pytest.mark.ackproof(brokers=[broker], profiles=["default"])


def concluded(result: Result, wanted: Outcome) -> TrialRecord:
    """The record, once it is sure that the fault landed, hit, and the outcome is as known."""
    record = result.record
    assert record.verdict is wanted, record.reasons
    assert all(fault.landed and fault.hit for fault in record.faults)
    return record


def visible_again_after(timeout_s: int) -> dict[str, object]:
    return {"broker_transport_options": {"visibility_timeout": timeout_s}}


def killing(target: str, settings: Settings, *, tasks: int = 4) -> Scenario:
    return Scenario(
        tasks=tasks,
        task_duration_s=1.0,
        concurrency=1,
        settings=settings,
        faults=[sigkill(target, when=MID_TASK)],
        checks=[no_lost_tasks(), no_stranded_tasks()],
    )


@every_broker
def test_k1_acks_early_child_killed_is_lost(run: RunTrial) -> None:
    """K1: acknowledged before it ran, the task dies with its child; the others complete."""
    counts = concluded(run(killing("child", {})), Outcome.BROKEN).counts
    assert (counts.lost, counts.completed, counts.duplicate_executions) == (1, 3, 0)


@every_broker
def test_k2_acks_late_alone_child_killed_is_lost(run: RunTrial) -> None:
    """K2: late acknowledgement alone acknowledges the failure of a lost child."""
    counts = concluded(run(killing("child", ACKS_LATE)), Outcome.BROKEN).counts
    assert (counts.lost, counts.completed, counts.duplicate_executions) == (1, 3, 0)


@every_broker
def test_k3_reject_on_worker_lost_runs_again(run: RunTrial) -> None:
    """K3: rejected and requeued, the task starts twice and ends once."""
    counts = concluded(run(killing("child", REJECT)), Outcome.HOLDS).counts
    assert (counts.lost, counts.completed, counts.duplicate_executions) == (0, 4, 1)


@only("rabbitmq")
def test_k6_rabbitmq_redelivers_at_once(run: RunTrial) -> None:
    """K6: RabbitMQ notices the dead connection and redelivers: two starts, one end."""
    counts = concluded(run(killing("main", ACKS_LATE)), Outcome.HOLDS).counts
    assert (counts.lost, counts.stranded, counts.duplicate_executions) == (0, 0, 1)


@every_broker
def test_k7_acks_early_main_killed_is_lost_and_stays_started(run: RunTrial, tmp_path: Path) -> None:
    """K7: lost, and the result says STARTED for ever."""
    results = {"result_backend": f"file://{tmp_path}", "task_track_started": True}
    scenario = killing("main", results, tasks=1)
    counts = concluded(run(scenario), Outcome.BROKEN).counts
    assert (counts.lost, counts.stranded, counts.completed) == (1, 0, 0)
    (result,) = tmp_path.glob("celery-task-meta-*")
    assert json.loads(result.read_text())["status"] == "STARTED"


@only("redis")
def test_r2_killed_between_the_pop_and_the_note_is_lost(run: RunTrial) -> None:
    """R2: popped, and noted nowhere yet: lost, though acknowledged late. The others are not."""
    scenario = replace(
        killing("main", ACKS_LATE | visible_again_after(3)),
        faults=[sigkill("main", when=step("taken", nth=2))],
    )
    record = concluded(run(scenario), Outcome.BROKEN)
    assert (record.counts.lost, record.counts.stranded, record.counts.completed) == (1, 0, 3)
    assert record.faults[0].hit[0]["step"] == "taken"


@only("rabbitmq")
def test_k11_killed_in_an_early_acknowledgement_runs_again(run: RunTrial) -> None:
    """K11: acknowledged early, so "never executed again"; but the child has begun when the main
    process dies on its way to acknowledge, and the message is given out again."""
    fault = sigkill("main", when=step("early_ack_begins"), until="started")
    scenario = replace(killing("main", {}, tasks=1), faults=[fault])
    counts = concluded(run(scenario), Outcome.HOLDS).counts
    assert (counts.lost, counts.completed, counts.duplicate_executions) == (0, 1, 1)


@only("rabbitmq")
def test_k12_killed_in_a_late_acknowledgement_ends_twice(run: RunTrial) -> None:
    """K12: the body has ended, its result is stored; it runs again, and its effect is doubled."""
    scenario = replace(
        killing("main", ACKS_LATE, tasks=1), faults=[sigkill("main", when=step("late_ack_begins"))]
    )
    counts = concluded(run(scenario), Outcome.HOLDS).counts
    assert (counts.lost, counts.completed, counts.duplicate_executions) == (0, 1, 1)
    assert counts.duplicate_effects == 1


@only("redis")
def test_k8_redis_message_of_a_killed_worker_is_stranded_not_lost(run: RunTrial) -> None:
    """K8: with a visibility timeout of an hour it comes back after it, and at most one
    restore pass (100 s) later; it is not lost."""
    scenario = killing("main", ACKS_LATE | visible_again_after(3600))
    record = concluded(run(scenario), Outcome.BROKEN)
    assert (record.counts.lost, record.counts.stranded) == (0, 1)
    (left,) = record.stranded
    assert left.back_in_s is not None
    assert 3600 - 60 < left.back_in_s < 3600 + 100
    assert record.timings.horizon_s == 3700


@only("redis")
def test_r13_a_restore_lock_left_behind_strands_what_is_due(run: RunTrial) -> None:
    """R13: the visibility timeout is over in seconds, and a pass comes each second; but a worker
    was killed inside one and its lock is there for five minutes. Nobody restores anything: it
    is stranded, and said to be back when the lock has gone and not in the past."""
    options = {"visibility_timeout": 3, "unacked_restore_interval": 1}
    options |= {"unacked_restore_throttle": 1, "unacked_mutex_expire": 300}
    scenario = replace(
        killing("worker", ACKS_LATE | {"broker_transport_options": options}),
        workload="workloads/locked",
    )
    record = concluded(run(scenario), Outcome.BROKEN)
    assert (record.counts.lost, record.counts.stranded, record.counts.completed) == (0, 1, 3)
    (left,) = record.stranded
    assert "left its lock unacked_mutex" in left.why
    assert left.back_in_s is not None
    assert 45 < left.back_in_s < 301


@every_broker
def test_two_workers_each_get_their_marker_and_their_share(run: RunTrial) -> None:
    """A baseline of two: markers go to a queue of each worker's own, and each is a machine with
    a name of its own, though the command names neither."""
    scenario = Scenario(
        tasks=6, task_duration_s=0.3, workers=2, concurrency=1, checks=[no_lost_tasks()]
    )
    counts = concluded(run(scenario), Outcome.HOLDS).counts
    assert (counts.completed, counts.duplicate_executions) == (6, 0)


@every_broker
def test_k4_a_poisoned_message_ends_its_trial(run: RunTrial) -> None:
    """K4: a task that kills its own process is given out for ever. Every start is progress; the
    trial ends all the same, the others are completed, and the reason names what loops."""
    scenario = Scenario(
        workload="workloads/poison",
        tasks=3,
        concurrency=2,  # with one slot the others never get past it
        settings=REJECT,
        attempts_max=4,
        checks=[no_lost_tasks(), no_stranded_tasks()],
    )
    record = concluded(run(scenario), Outcome.BROKEN)
    assert (record.counts.lost, record.counts.stranded, record.counts.completed) == (0, 1, 2)
    assert any("(poison.work) was started 4 times" in why for why in record.reasons)


@every_broker
def test_a_task_that_retries_for_ever_ends_at_the_bound(run: RunTrial) -> None:
    """Each retry is a message of its own, and is completed: only the clock ends such a trial.
    It is unknown, and says what goes on."""
    scenario = Scenario(
        workload="workloads/poison",
        tasks=1,
        concurrency=1,
        options={"what": "retries"},
        bound_s=12.0,
        checks=[no_lost_tasks(), no_stranded_tasks()],
    )
    record = concluded(run(scenario, unknown_tries=0), Outcome.UNKNOWN)
    assert any("its time is over: poison.again was started" in why for why in record.reasons)


@every_broker
def test_k14_control_a_child_a_task_runs_each_once(run: RunTrial) -> None:
    """K14, a control: forty tasks, each in a child of its own, run once each."""
    scenario = Scenario(
        tasks=40,
        task_duration_s=0.02,
        settings={"worker_max_tasks_per_child": 1},
        checks=[no_lost_tasks(), no_stranded_tasks()],
    )
    counts = concluded(run(scenario), Outcome.HOLDS).counts
    assert (counts.completed, counts.duplicate_executions, counts.duplicate_effects) == (40, 0, 0)


@only("sqs")
def test_s1_sqs_redelivers_after_the_visibility_timeout(run: RunTrial) -> None:
    """S1: SQS gives the message out again once its visibility timeout has passed. One that the
    dead worker's long poll still took runs once, and later."""
    scenario = killing("main", ACKS_LATE | visible_again_after(20))
    record = concluded(run(scenario), Outcome.HOLDS)
    assert (record.counts.lost, record.counts.duplicate_executions) == (0, 1)


@only("rabbitmq")
def test_q7_control_publish_after_a_clean_close_loses_nothing(run: RunTrial) -> None:
    """Q7, a control: the producer's connection was closed cleanly; the next publish opens
    another, and nothing is lost."""
    scenario = Scenario(
        workload="workloads/relay",
        tasks=10,
        task_duration_s=0.05,
        checks=[no_lost_tasks(), no_stranded_tasks()],
    )
    result = run(scenario)
    counts = concluded(result, Outcome.HOLDS).counts
    assert (counts.confirmed, counts.completed, counts.duplicate_executions) == (10, 10, 0)

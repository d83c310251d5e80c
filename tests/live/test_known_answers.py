"""Known answers that are no scenarios: what a result backend says, what never ends, two workers.
The published incidents are under ``scenarios/incidents/``; the ids are those of their list.
"""

from collections.abc import Callable

import pytest

from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_stranded_tasks import no_stranded_tasks
from harness.model import Outcome, Settings
from harness.plugin import Result, RunTrial
from harness.record import TrialRecord
from harness.scenario import Scenario

REJECT: Settings = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
}


def every_broker(test: Callable[..., None]) -> Callable[..., None]:
    """With Celery's own defaults, but for what the scenario sets."""
    marked: Callable[..., None] = pytest.mark.ackproof(profiles=["default"])(test)
    return marked


def only(*brokers: str) -> pytest.MarkDecorator:
    return pytest.mark.ackproof(brokers=list(brokers), profiles=["default"])


def concluded(result: Result, wanted: Outcome) -> TrialRecord:
    """The record, once it is sure that the fault landed, hit, and the outcome is as known."""
    record = result.record
    assert record.verdict is wanted, record.reasons
    assert all(fault.landed and fault.hit for fault in record.faults)
    return record


@every_broker
def test_two_workers_each_get_their_marker_and_their_share(run: RunTrial) -> None:
    """A baseline of two: markers go to a queue of each worker's own, and each is a machine with
    a name of its own, though the command names neither."""
    scenario = Scenario(
        tasks=6, task_duration_s=0.3, workers=2, concurrency=1, checks=[no_lost_tasks()]
    )
    counts = concluded(run(scenario), Outcome.HOLDS).counts
    assert (counts.completed, counts.duplicate_executions) == (6, 0)


@only("redis")
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


@pytest.mark.full
@only("redis")
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

"""K4: a task that kills its own child is run again and again, without any limit of Celery's.

With acks late and reject on worker lost, the message goes back to its queue each time: no
count of attempts, no pause between them but SQS's long poll. Here it stops killing after the
sixth time, so that the trial has an end. Source: celery/celery#9082.
"""

import dataclasses

import pytest

from harness.checks.outcome import outcome
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/misfits",
    options={"variant": "eat_memory", "meals": "6"},
    tasks=3,
    task_duration_s=0.1,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        # On SQS a rejected message stays invisible for as long as a poll may take.
        "broker_transport_options": {"wait_time_seconds": 1, "polling_interval": 0.2},
    },
    checks=[outcome(starts=7, ends=1, completed=3, lost=0, stranded=0, duplicate_executions=1)],
)


@pytest.mark.long
@pytest.mark.ackproof(profiles=["default"])
def test_k4_poisoned_message(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()


ENDLESS = dataclasses.replace(
    SCENARIO,
    options={"variant": "eat_memory", "meals": "1000"},
    attempts_max=6,
    # The trial recognises it and ends; the message is still there, for the next worker.
    checks=[outcome(starts=(6, 8), ends=0, lost=0, stranded=(1, 3))],
)


@pytest.mark.long
@pytest.mark.ackproof(profiles=["default"])
def test_k4_without_end(run: RunTrial) -> None:
    run(ENDLESS).assert_holds()

"""R4: on Redis, a task three times as long as the visibility timeout is run about four times.

With acks late and nobody killed: a restore pass cannot tell a long task from a dead worker.
Each redelivery starts another copy while the ones before still run, and each applies its
effect. Source: celery/kombu#337, celery/celery#5935.
"""

import pytest

from harness.brokers.redis import restored_after
from harness.checks.outcome import outcome
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=1,
    task_duration_s=4.0,
    concurrency=6,
    settings={
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        # A redelivery every 1.2 s: the first pass after the visibility timeout.
        "broker_transport_options": restored_after(1, every_s=0.4),
    },
    checks=[
        outcome(
            starts=(2, 5),
            ends=(2, 5),
            overlapping_executions=1,
            duplicate_effects=1,
            lost=0,
            stranded=0,
        )
    ],
)


@pytest.mark.ackproof(brokers=["redis"], profiles=["default"])
def test_r4_redis_task_outlasts_visibility(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

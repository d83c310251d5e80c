"""R13: a Redis worker killed inside kombu's restore pass strands what is due for five minutes.

It holds ``unacked_mutex``, which only expires; until then nobody on that database gives anything
back to anybody, whatever the visibility timeout. The first worker of the trial takes kombu's own
lock with kombu's own code and is killed with it. Source: celery/kombu#1816, celery/kombu#1190.
"""

import pytest

from harness.checks.outcome import outcome
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/locked",
    tasks=4,
    task_duration_s=1.0,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        # Back within four seconds, were it not for the lock.
        "broker_transport_options": {
            "visibility_timeout": 3,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        },
    },
    faults=[sigkill("worker", when=step("effect"))],
    checks=[outcome(lost=0, stranded=1, completed=3, duplicate_executions=0)],
)


@pytest.mark.ackproof(brokers=["redis"], profiles=["default"])
def test_r13_redis_restore_lock_left_behind(run: RunTrial) -> None:
    result = run(SCENARIO)
    result.assert_holds()
    (left,) = result.record.stranded
    assert "left its lock unacked_mutex" in left.why
    assert left.back_in_s is not None
    assert 45 < left.back_in_s < 301

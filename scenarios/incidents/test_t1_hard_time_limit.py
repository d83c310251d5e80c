"""T1: a task killed by its hard time limit is requeued, if failures are not to be acknowledged.

With acks late and ``task_acks_on_failure_or_timeout=False``: it hangs, is killed, runs again,
and ends. Before Celery 5.5 it was acknowledged, and lost. Source: celery/celery#9596.
"""

import pytest

from harness.checks.outcome import outcome
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/misfits",
    options={"variant": "fill_cache"},
    tasks=3,
    task_duration_s=0.5,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "task_acks_on_failure_or_timeout": False,
        "task_time_limit": 2,
        "worker_prefetch_multiplier": 1,
    },
    checks=[
        outcome(
            lost=0,
            stranded=0,
            completed=3,
            duplicate_executions=1,
            overlapping_executions=0,
            starts=2,
            ends=1,
        )
    ],
)


@pytest.mark.long
@pytest.mark.ackproof(profiles=["default"])
def test_t1_hard_time_limit(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

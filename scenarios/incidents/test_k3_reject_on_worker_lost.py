"""K3: with acks late and reject on worker lost, a task whose child is killed runs again.

Two starts, one end. Source: celery/celery#5598.
"""

import pytest

from harness.checks.outcome import outcome
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=4,
    task_duration_s=1.0,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
    },
    faults=[sigkill("child", when=step("effect", nth=1))],
    checks=[outcome(lost=0, completed=4, duplicate_executions=1, starts=2, ends=1)],
)


@pytest.mark.ackproof(profiles=["default"])
def test_k3_reject_on_worker_lost(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

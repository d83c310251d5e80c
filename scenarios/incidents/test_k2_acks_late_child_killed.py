"""K2: acks late alone does not save a task from the death of its child: it is lost.

The main process takes the lost child for a failed task, and a failure is acknowledged
(``task_acks_on_failure``). Source: celery/celery#1628, and Celery's configuration docs.
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
    settings={"task_acks_late": True, "worker_prefetch_multiplier": 1},
    faults=[sigkill("child", when=step("effect", nth=1))],
    checks=[outcome(lost=1, completed=3, stranded=0, duplicate_executions=0)],
)


@pytest.mark.ackproof(profiles=["default"])
def test_k2_acks_late_child_killed(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

"""K1: acknowledged early, a task is lost with its child (WorkerLostError).

Celery's default: ``Request.on_accepted`` acknowledges when the child begins, so nobody holds
the message any more when the child dies.
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
    faults=[sigkill("child", when=step("effect", nth=1))],
    checks=[outcome(lost=1, completed=3, stranded=0, duplicate_executions=0)],
)


@pytest.mark.ackproof(profiles=["default"])
def test_k1_acks_early_child_killed(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

"""The canary: acknowledged early and killed mid-task, a task is lost. If this ever holds,
the harness no longer finds what it is for."""

import pytest

from harness.checks.no_lost_tasks import no_lost_tasks
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=4,
    task_duration_s=1.0,
    settings={"task_acks_late": False, "task_reject_on_worker_lost": False},
    faults=[sigkill("child", when=step("started", nth=1))],
    checks=[no_lost_tasks()],
)


@pytest.mark.canary
def test_canary(run: RunTrial) -> None:
    run(SCENARIO).assert_broken()

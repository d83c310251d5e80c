"""K14, a control: forty tasks, each in a child of its own, run once each.

Source: celery/celery#5120, where some were lost.
"""

import pytest

from harness.checks.outcome import outcome
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=40,
    task_duration_s=0.02,
    settings={"worker_max_tasks_per_child": 1},
    checks=[
        outcome(
            completed=40, lost=0, stranded=0, starts=1, ends=1, duplicate_effects=0, unexpected=0
        )
    ],
)


@pytest.mark.ackproof(profiles=["default"])
def test_k14_control_max_tasks_per_child(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

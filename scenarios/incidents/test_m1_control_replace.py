"""M1, a control: a task that replaces itself is two tasks under one id, and each runs once.

``Task.replace`` publishes its substitute with its own id and retry number, one level deeper
(``replaced_task_nesting``). Source: ``celery.app.task.Task.replace``.
"""

import pytest

from harness.checks.outcome import outcome
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/pipelines",
    options={"variant": "replace"},
    tasks=3,
    task_duration_s=0.2,
    checks=[
        outcome(
            attempted=3,
            completed=3,
            lost=0,
            stranded=0,
            duplicate_executions=0,
            lineages=1,
            starts=2,
            ends=2,
        )
    ],
)


@pytest.mark.ackproof(brokers=["redis", "rabbitmq"], profiles=["default"])
def test_m1_control_replace(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

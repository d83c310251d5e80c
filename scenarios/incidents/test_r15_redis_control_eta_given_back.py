"""R15, a control: on Redis, a worker that holds only tasks for later and is told to end in time
loses none.

What it holds unacknowledged goes back to the queue when its channel closes, and runs elsewhere when
it is due, once. Source: celery/kombu#533.
"""

import pytest

from harness.checks.outcome import outcome
from harness.faults.shutdown import shutdown
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/reminders",
    options={"countdown_s": "8"},
    tasks=3,
    task_duration_s=0.3,
    concurrency=1,
    faults=[shutdown("SIGTERM", when=step("received", nth=3), after_s=0.5)],
    checks=[
        outcome(starts=1, ends=1, completed=3, lost=0, stranded=0, duplicate_executions=0),
    ],
)


@pytest.mark.ackproof(brokers=["redis"], profiles=["default"])
def test_r15_redis_control_eta_given_back(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

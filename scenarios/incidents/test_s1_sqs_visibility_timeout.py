"""S1: SQS gives the task of a killed worker out again after its visibility timeout.

With acks late. The service counts by itself: no worker's restore pass is needed.
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
        "worker_prefetch_multiplier": 1,
        "broker_transport_options": {"visibility_timeout": 10},
    },
    faults=[sigkill("main", when=step("effect", nth=1))],
    checks=[outcome(lost=0, stranded=0, completed=4, duplicate_executions=1, starts=2, ends=1)],
)


@pytest.mark.ackproof(brokers=["sqs"], profiles=["default"])
def test_s1_sqs_visibility_timeout(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

"""S2: on SQS, a task three times as long as its visibility timeout is run about three times.

With acks late and nobody killed. Each copy is given out while the ones before still run.
"""

import pytest

from harness.checks.outcome import outcome
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=1,
    task_duration_s=5.0,
    concurrency=6,
    settings={
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "broker_transport_options": {"visibility_timeout": 2},
    },
    checks=[outcome(starts=(2, 4), ends=(2, 4), lost=0)],
)


@pytest.mark.ackproof(brokers=["sqs"], profiles=["default"])
def test_s2_sqs_task_outlasts_visibility(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

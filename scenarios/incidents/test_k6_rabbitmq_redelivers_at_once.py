"""K6: RabbitMQ redelivers the task of a killed worker at once: two starts, one end.

The dead worker's connection ends with it, and AMQP requeues what was unacknowledged on it.
"""

import pytest

from harness.checks.outcome import outcome
from harness.checks.recovers_within import recovers_within
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=4,
    task_duration_s=1.0,
    concurrency=1,
    settings={"task_acks_late": True, "worker_prefetch_multiplier": 1},
    faults=[sigkill("main", when=step("effect", nth=1))],
    checks=[
        outcome(lost=0, stranded=0, completed=4, duplicate_executions=1, starts=2, ends=1),
        recovers_within(s=30),
    ],
)


@pytest.mark.ackproof(brokers=["rabbitmq"], profiles=["default"])
def test_k6_rabbitmq_redelivers_at_once(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

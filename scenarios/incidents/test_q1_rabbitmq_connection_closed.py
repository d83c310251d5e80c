"""Q1: on RabbitMQ, a connection closed in the middle of a task has it run twice, to the end.

Acknowledged late, the message is unacknowledged when the connection ends: the server offers it
again, while the task goes on; its own acknowledgement is then of a channel that is gone. Source:
celery/celery#4671.
"""

import pytest

from harness.checks.outcome import outcome
from harness.faults.reset import reset
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=1,
    task_duration_s=4.0,
    concurrency=2,
    settings={"task_acks_late": True, "worker_prefetch_multiplier": 1},
    faults=[reset(when=step("started"))],
    checks=[outcome(completed=1, lost=0, stranded=0, starts=2, ends=2, duplicate_effects=1)],
)


@pytest.mark.ackproof(brokers=["rabbitmq"], profiles=["default"])
def test_q1_rabbitmq_connection_closed(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

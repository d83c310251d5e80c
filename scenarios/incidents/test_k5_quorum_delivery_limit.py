"""K5: a quorum queue with delivery limit 3 gives a poisoned message out four times and drops it.

The message whose task kills its own child, with acks late and reject on worker lost (K4).
Without a dead-letter exchange it is gone. Source: RabbitMQ's docs on poison messages.
"""

import pytest

from harness.checks.outcome import outcome
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/misfits",
    options={"variant": "eat_memory", "queue_type": "quorum"},
    tasks=3,
    task_duration_s=0.2,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        # Without confirms a quorum queue may lose what a producer that exits had just published.
        "broker_transport_options": {"confirm_publish": True},
    },
    checks=[outcome(starts=4, ends=0, lost=1, completed=2, stranded=0, duplicate_executions=1)],
)


@pytest.mark.long
@pytest.mark.ackproof(brokers=["rabbitmq"], profiles=["default"])
def test_k5_quorum_delivery_limit(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

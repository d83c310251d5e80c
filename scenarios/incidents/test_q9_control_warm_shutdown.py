"""Q9, a control: a warm shutdown longer than two heartbeats runs nothing twice on RabbitMQ.

The worker goes on sending heartbeats while it waits for its task. Before Celery 5.6.1 it did
not: the server closed the connection, and the task ran again elsewhere. Source:
celery/celery#5998.
"""

import pytest

from harness.checks.outcome import outcome
from harness.faults.shutdown import shutdown
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=1,
    # A server that hears nothing closes within three heartbeats.
    task_duration_s=11.0,
    workers=2,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "broker_heartbeat": 3,
    },
    # Not at once: see test_warm_shutdown_unheard.py.
    faults=[shutdown("SIGTERM", when=step("started"), after_s=0.5)],
    checks=[outcome(starts=1, ends=1, completed=1, lost=0, stranded=0, redelivery_pending=0)],
)


@pytest.mark.long
@pytest.mark.ackproof(brokers=["rabbitmq"], profiles=["default"])
def test_q9_control_warm_shutdown(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

"""P3: on RabbitMQ, a task of the solo pool that outlasts the heartbeats runs again and again.

Its process sends none while the body runs, so the server closes the connection; the
acknowledgement never arrives, acks early or not, and the message is given out anew, for ever. The
trial names it, and ends. Source: celery/celery#3430.
"""

import pytest

from harness.checks.outcome import outcome
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    # Its worker does without mingle: with it and this heartbeat none became ready in 90 s.
    workload="workloads/journey",
    pool="solo",
    tasks=1,
    task_duration_s=5.0,
    concurrency=1,
    attempts_max=3,
    settings={"broker_heartbeat": 1},
    checks=[outcome(starts=(3, 4), ends=(2, 4), completed=1, lost=0, redelivery_pending=1)],
)


@pytest.mark.long
@pytest.mark.ackproof(brokers=["rabbitmq"], profiles=["default"])
def test_p3_solo_outlasts_heartbeats(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

"""R5: on Redis, a task whose ETA is beyond the visibility timeout runs about four times.

Nobody is killed. A worker holds a message unacknowledged until its ETA, and every visibility
timeout it gets the same message again; at the ETA it runs each copy. With acks early, too:
there is nothing to acknowledge before a copy runs. Source: celery/celery#2481.
"""

import pytest

from harness.brokers.redis import restored_after
from harness.checks.outcome import outcome
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/reminders",
    options={"countdown_s": "4.2"},
    tasks=1,
    task_duration_s=0.5,
    settings={
        # A redelivery every 1.2 s: the first pass after the visibility timeout.
        "broker_transport_options": restored_after(1, every_s=0.4),
    },
    checks=[outcome(starts=(3, 5), ends=(3, 5), lost=0, stranded=0)],
)


@pytest.mark.ackproof(brokers=["redis"], profiles=["default"])
def test_r5_redis_eta_outlasts_visibility(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

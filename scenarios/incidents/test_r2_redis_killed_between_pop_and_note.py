"""R2: on Redis, a worker killed between taking a message and noting it loses it, acks late too.

The pop and the note (``QoS.append``) are two commands on two connections. In between nobody
holds the message. Source: celery/celery#7950, celery/kombu#305.
"""

import pytest

from harness.brokers.redis import restored_after
from harness.checks.outcome import outcome
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=4,
    task_duration_s=0.5,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        # What can come back is back before the trial ends.
        "broker_transport_options": restored_after(3),
    },
    faults=[sigkill("main", when=step("taken", nth=2))],
    checks=[outcome(lost=1, stranded=0, completed=3, starts=(1, 2))],
)


@pytest.mark.ackproof(brokers=["redis"], profiles=["default"])
def test_r2_redis_killed_between_pop_and_note(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

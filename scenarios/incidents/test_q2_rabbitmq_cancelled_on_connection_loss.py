"""Q2: as Q1, with ``worker_cancel_long_running_tasks_on_connection_loss``: it ends once.

The worker kills the task whose acknowledgement it could no longer send, and runs it again: the
work of the first run is wasted. Source: celery/celery#7185.
"""

import pytest

from harness.checks.outcome import outcome
from harness.faults.reset import reset
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=1,
    # Its effect, halfway, is to come well after the cut: a connection on which nothing flows is
    # closed after two seconds.
    task_duration_s=9.0,
    concurrency=2,
    settings={
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
    },
    faults=[reset(when=step("started"))],
    checks=[outcome(completed=1, lost=0, stranded=0, starts=2, ends=1, duplicate_effects=0)],
)


@pytest.mark.long
@pytest.mark.ackproof(brokers=["rabbitmq"], profiles=["default"])
def test_q2_rabbitmq_cancelled_on_connection_loss(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

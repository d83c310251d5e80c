"""R9: a soft shutdown lets a short task finish; a longer one is given back and run again.

With acks late, and a cold shutdown (SIGQUIT) that waits ``worker_soft_shutdown_timeout``, which is
there since Celery 5.5. On SQS what a closing channel holds is out again after the time of a long
poll, 10 s (kombu 5.7, ``Channel._put``: ChangeMessageVisibility to ``wait_time_seconds``).

The signal comes halfway through the task: at its start the main process may not have heard yet that
it has begun, and that is another story (``test_cold_shutdown_unheard.py``).
"""

from dataclasses import replace

import pytest

from harness.checks.outcome import outcome
from harness.faults.shutdown import shutdown
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=1,
    task_duration_s=8.0,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": 2.0,
    },
    faults=[shutdown("SIGQUIT", when=step("effect"))],
    checks=[outcome(starts=2, ends=1, completed=1, lost=0, stranded=0, overlapping_executions=0)],
)
FINISHES = replace(
    SCENARIO,
    task_duration_s=4.0,
    settings={**SCENARIO.settings, "worker_soft_shutdown_timeout": 8.0},
    checks=[outcome(starts=1, ends=1, completed=1, lost=0, redelivery_pending=0)],
)


@pytest.mark.long
@pytest.mark.ackproof(profiles=["default"])
def test_r9_soft_shutdown_cuts_a_long_task(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()


@pytest.mark.long
@pytest.mark.ackproof(profiles=["default"])
def test_r9_soft_shutdown_lets_a_short_task_finish(run: RunTrial) -> None:
    run(FINISHES).assert_holds()

"""P1: with ``REMAP_SIGTERM=SIGQUIT`` a deploy's SIGTERM cuts tasks off; they are run again.

The remapped SIGTERM is a cold shutdown, here a soft one of 2 s, and the task takes 8. Its message,
acknowledged late, is given back, and it starts a second time elsewhere. Source: celery/celery#9505.
"""

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
    env={"REMAP_SIGTERM": "SIGQUIT"},
    settings={
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": 2.0,
    },
    faults=[shutdown("SIGTERM", when=step("effect"))],
    checks=[outcome(starts=2, ends=1, completed=1, lost=0, stranded=0, overlapping_executions=0)],
)


@pytest.mark.long
@pytest.mark.ackproof(profiles=["default"])
def test_p1_sigterm_remapped(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

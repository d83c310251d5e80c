"""P2: with a threads pool a cold shutdown cuts nothing off; insisted on, it runs tasks twice.

A thread cannot be ended: at the first SIGQUIT Celery 5.7 stumbles over that (``TaskPool does not
implement kill_job``), and the worker ends as if it had been a warm one, with status 1, after its
task: it runs once. The second SIGQUIT ends it in the middle of that; what it held is restored and
runs again elsewhere, while the thread of the first goes on for as long as its process lives.
Source: celery/celery#10490, ``celery.concurrency.base.BasePool.terminate_job``.
"""

from dataclasses import replace

import pytest

from harness.checks.outcome import outcome
from harness.faults.shutdown import shutdown
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

ONCE = Scenario(
    tasks=1,
    task_duration_s=4.0,
    concurrency=1,
    pool="threads",
    settings={"task_acks_late": True, "worker_prefetch_multiplier": 1},
    faults=[shutdown("SIGQUIT", when=step("effect"))],
    checks=[outcome(starts=1, ends=1, completed=1, lost=0, stranded=0, redelivery_pending=0)],
)
TWICE = replace(
    ONCE,
    faults=[shutdown("SIGQUIT", "SIGQUIT", when=step("effect"), every_s=0.5)],
    checks=[outcome(starts=2, ends=(1, 2), completed=1, lost=0, stranded=0)],
)


@pytest.mark.long
@pytest.mark.ackproof(profiles=["default"])
def test_p2_threads_cold_shutdown_waits(run: RunTrial) -> None:
    run(ONCE).assert_holds()


@pytest.mark.long
@pytest.mark.ackproof(profiles=["default"])
def test_p2_threads_cold_shutdown_insisted_on(run: RunTrial) -> None:
    run(TWICE).assert_holds()

"""R7: a spot notice shorter than the task strands what runs and what is prefetched on Redis.

The warm shutdown waits for the task, and the kill comes first; nobody gives the messages
back before the visibility timeout. Source: Celery's Redis docs, caveats.
"""

import pytest

from harness.checks.outcome import outcome
from harness.faults.spot import spot
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=5,
    task_duration_s=3.0,
    concurrency=1,
    settings={"task_acks_late": True, "worker_prefetch_multiplier": 4},
    faults=[spot(notice_s=0.5, when=step("effect_begin", nth=1))],
    # The running one and three prefetched ones; the replacement runs the fifth.
    checks=[outcome(stranded=4, lost=0, completed=1, starts=1)],
)


@pytest.mark.ackproof(brokers=["redis"], profiles=["default"])
def test_r7_redis_spot_notice(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

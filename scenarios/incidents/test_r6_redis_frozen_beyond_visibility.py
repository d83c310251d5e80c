"""R6: on Redis, a worker that hangs for longer than the visibility timeout has its task run twice.

Stopped (SIGSTOP) and continued: the other worker's restore pass takes its message for that of
a dead one, and runs it to its end; then the first goes on with its own.
"""

import pytest

from harness.brokers.redis import restored_after
from harness.checks.outcome import outcome
from harness.faults.freeze import freeze
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=1,
    task_duration_s=1.0,
    workers=2,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "broker_transport_options": restored_after(5),
    },
    faults=[freeze("worker", for_s=12.0, when=step("effect_begin", nth=1))],
    checks=[outcome(lost=0, starts=2, ends=2, overlapping_executions=1, duplicate_effects=1)],
)


@pytest.mark.ackproof(brokers=["redis"], profiles=["default"])
def test_r6_redis_frozen_beyond_visibility(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

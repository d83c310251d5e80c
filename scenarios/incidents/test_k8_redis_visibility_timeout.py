"""K8: on Redis the task of a killed worker is not lost: stranded for an hour and up to 100 s.

Nobody gives it back but some worker's restore pass, once the visibility timeout (an hour by
default) is over; and a pass scans only every 100 s. Source: celery/celery#4984,
celery/kombu#305.
"""

import pytest

from harness.checks.outcome import outcome
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=4,
    task_duration_s=1.0,
    concurrency=1,
    settings={"task_acks_late": True, "worker_prefetch_multiplier": 1},
    faults=[sigkill("main", when=step("effect", nth=1))],
    checks=[outcome(lost=0, stranded=1, completed=3, duplicate_executions=0)],
)


@pytest.mark.ackproof(brokers=["redis"], profiles=["default"])
def test_k8_redis_visibility_timeout(run: RunTrial) -> None:
    result = run(SCENARIO)
    result.assert_holds()
    assert result.record.timings.horizon_s == 3700
    (left,) = result.record.stranded
    assert left.back_in_s is not None
    assert 3600 < left.back_in_s + result.record.timings.trial_s < 3700 + 60

"""C6: killed after it published its retry, a task goes on in two lineages.

With acks late: ``Task.retry`` publishes before the message is acknowledged. The original is
redelivered and retries once more, so the retry runs twice.
"""

import pytest

from harness.brokers.redis import restored_after
from harness.checks.outcome import outcome
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/journey",
    options={"retrying": "1"},
    tasks=1,
    task_duration_s=1.0,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "broker_transport_options": restored_after(3),
    },
    faults=[sigkill("main", when=step("retry_published"))],
    # The original, cut off once, and its retry, of which each lineage ran one to the end.
    checks=[
        outcome(
            attempted=2,
            duplicate_executions=2,
            starts=2,
            ends=2,
            duplicate_effects=1,
            lineages=2,
            lost=0,
            stranded=0,
        )
    ],
)


@pytest.mark.long
@pytest.mark.ackproof(profiles=["default"])
def test_c6_killed_after_retry_published(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

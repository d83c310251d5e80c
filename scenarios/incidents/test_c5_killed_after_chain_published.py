"""C5: killed after it published the rest of its chain, a task runs the rest of the chain twice.

With acks late: ``celery.app.trace`` publishes what follows before the result is stored and
before the message is acknowledged. The task is redelivered and publishes it again, under the
same id.
"""

import pytest

from harness.brokers.redis import restored_after
from harness.checks.outcome import outcome
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/pipelines",
    options={"variant": "chain"},
    tasks=1,
    task_duration_s=1.0,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "broker_transport_options": restored_after(3),
    },
    faults=[sigkill("main", when=step("callbacks_published"))],
    # Both of the chain: the first was cut off once, the second was published twice and ran to its
    # end twice.
    checks=[
        outcome(
            attempted=2,
            duplicate_executions=2,
            starts=2,
            ends=2,
            lineages=2,
            failed_chains=1,
            lost=0,
            stranded=0,
        )
    ],
)


@pytest.mark.long
@pytest.mark.ackproof(profiles=["default"])
def test_c5_killed_after_chain_published(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

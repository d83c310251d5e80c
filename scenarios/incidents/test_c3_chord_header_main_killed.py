"""C3: a chord whose header is lost with its worker is pending for ever.

With acks early. Nobody counts the lost header as failed, so the body never runs, and its
result never comes.
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
    options={"variant": "chord"},
    tasks=3,
    task_duration_s=1.0,
    concurrency=1,
    settings={
        "result_backend": "redis://",
        "worker_prefetch_multiplier": 1,
        # What the worker had prefetched comes back and is run; the lost header does not.
        "broker_transport_options": restored_after(3),
    },
    faults=[sigkill("main", when=step("started"))],
    # Three headers; the body was never published, and reads as if it were yet to come.
    checks=[
        outcome(
            attempted=3,
            completed=2,
            lost=1,
            stranded=0,
            duplicate_executions=0,
            failed_chords=1,
            unreadable_results=0,
            results_success=2,
            results_pending=2,
        )
    ],
)


@pytest.mark.ackproof(brokers=["redis"], profiles=["default"])
def test_c3_chord_header_main_killed(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

"""C2: a chord whose header loses a child never runs its body: it fails with a ChordError.

With acks early. The header that was lost counts as failed (WorkerLostError), whether the
result backend counts the headers itself, as Redis does, or a task of Celery's looks at them
again and again (``celery.chord_unlock``). Source: celery/celery#2911.
"""

from dataclasses import replace

import pytest

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
    settings={"result_backend": "redis://"},
    faults=[sigkill("child", when=step("started", nth=2, task="*.fetch"))],
    # Three headers; the body was never published. It reads as failed, like the lost header.
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
            results_failure=2,
        )
    ],
)
# The looks at the headers are messages too, a second apart.
UNLOCKED = outcome(
    lost=1,
    stranded=0,
    duplicate_executions=0,
    failed_chords=1,
    unreadable_results=0,
    results_success=2,
    results_failure=2,
)


@pytest.mark.ackproof(brokers=["redis"], profiles=["default"])
def test_c2_chord_header_child_killed(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()


@pytest.mark.long
@pytest.mark.ackproof(brokers=["rabbitmq"], profiles=["default"])
def test_c2_chord_error(run: RunTrial) -> None:
    settings = {"result_backend": "file://{trial_dir}/results"}
    run(replace(SCENARIO, settings=settings, checks=[UNLOCKED])).assert_holds()

"""On Redis, a chord whose last header dies just before it publishes the body: the body never runs.

Hardened, and nothing is lost: every header is SUCCESS, the body was never published, its result is
PENDING for ever. The header that counted last has claimed the chord (Celery 5.7,
``celery.backends.redis``); when it runs again within some 20 s, it finds the claim and leaves the
body to whoever has it: nobody. ``celery.chord_unlock``, which looks at the headers where the
backend cannot count, is run again and publishes it.
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
    tasks=2,
    task_duration_s=0.5,
    concurrency=1,
    settings={"result_backend": "redis://"},
    faults=[sigkill("worker", when=step("publishing", task="*.index"))],
    checks=[
        outcome(lost=0, stranded=0, failed_chords=1, results_success=2, results_pending=1),
    ],
)
UNLOCKED = replace(
    SCENARIO,
    settings={
        "result_backend": "file://{trial_dir}/results",
        "broker_transport_options": {"visibility_timeout": 8},
    },
    checks=[outcome(lost=0, stranded=0, failed_chords=0, results_pending=0, lineages=1)],
)


@pytest.mark.ackproof(brokers=["redis"], profiles=["hardened"])
def test_chord_claimed_and_never_published(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()


@pytest.mark.long
@pytest.mark.ackproof(brokers=["rabbitmq"], profiles=["hardened"])
def test_chord_unlocked_again(run: RunTrial) -> None:
    run(UNLOCKED).assert_holds()

"""The task that publishes a chord's body is killed just after that: the body may run twice.

With acks late. Where ``celery.chord_unlock`` publishes the body, it is redelivered and publishes
it again. Where Redis counts the headers, the last of them has claimed the chord (Celery 5.7): when
it runs again, it finds the claim and leaves the body alone; unless the claim has expired, which
takes some 20 s by default, and the visibility timeout is longer. Source: ``celery.backends.redis``.
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
    settings={"result_backend": "file://{trial_dir}/results"},
    faults=[sigkill("worker", when=step("published", task="*.index"))],
    checks=[outcome(lost=0, stranded=0, lineages=2, failed_chords=1, unreadable_results=0)],
)
ONCE = outcome(
    lost=0,
    stranded=0,
    duplicate_executions=1,  # the header
    lineages=1,
    failed_chords=0,
    unreadable_results=0,
)


@pytest.mark.long
@pytest.mark.ackproof(brokers=["rabbitmq"], profiles=["hardened"])
def test_chord_unlocked_twice(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()


@pytest.mark.long
@pytest.mark.ackproof(brokers=["redis"], profiles=["hardened"])
def test_chord_claimed_in_redis(run: RunTrial) -> None:
    claimed = replace(SCENARIO, settings={"result_backend": "redis://"}, checks=[ONCE])
    run(claimed).assert_holds()


@pytest.mark.long
@pytest.mark.ackproof(brokers=["redis"], profiles=["hardened"])
def test_claim_expired(run: RunTrial) -> None:
    # The claim lasts as long as publishing may take, retries included: here 6 s.
    settings: dict[str, object] = {
        "result_backend": "redis://",
        "broker_connection_timeout": 1,
        "result_chord_join_timeout": 1,
        "broker_transport_options": {"visibility_timeout": 9},
    }
    run(replace(SCENARIO, settings=settings)).assert_holds()

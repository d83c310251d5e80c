"""A worker killed under a chord's header: its body runs once all the same, with every result.

Hardened: the header is run again. Redis as a result backend counts the headers itself, each
once; elsewhere ``celery.chord_unlock`` looks at their results, which are in files.
"""

from dataclasses import replace

import pytest

from harness.checks.chord_bodies_run_once import chord_bodies_run_once
from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.one_lineage import one_lineage
from harness.checks.results_readable import results_readable
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/pipelines",
    options={"variant": "chord"},
    tasks=3,
    task_duration_s=0.5,
    concurrency=1,
    settings={
        "result_backend": "file://{trial_dir}/results",
        # `celery.chord_unlock` waits in a worker for a second and more at a time, longer than any
        # task of the app: were it redelivered meanwhile, it would publish the body twice.
        "broker_transport_options": {"visibility_timeout": 8},
    },
    faults=[sigkill("worker", when=step("started", nth=2, task="*.fetch"))],
    checks=[no_lost_tasks(), chord_bodies_run_once(), one_lineage(), results_readable()],
)


@pytest.mark.long
@pytest.mark.ackproof(brokers=["rabbitmq", "sqs"], profiles=["hardened"])
def test_chord(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()


@pytest.mark.ackproof(brokers=["redis"], profiles=["hardened"])
def test_chord_counted_by_redis(run: RunTrial) -> None:
    run(replace(SCENARIO, settings={"result_backend": "redis://"})).assert_holds()

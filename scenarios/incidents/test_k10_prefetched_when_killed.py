"""K10: a worker killed with four prefetched tasks loses the one it runs, not those it holds.

What it had prefetched was not acknowledged: Redis keeps it stranded, RabbitMQ gives it to
the next worker at once. Source: Celery's configuration docs (``worker_prefetch_multiplier``).
"""

from dataclasses import replace

import pytest

from harness.checks.outcome import outcome
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=5,
    task_duration_s=4.0,
    concurrency=1,
    settings={"worker_prefetch_multiplier": 4},
    faults=[sigkill("main", when=step("effect", nth=1))],
    checks=[outcome(lost=1, stranded=4, completed=0, starts=1, ends=0)],
)
REQUEUED = [outcome(lost=1, stranded=0, completed=4, duplicate_executions=0)]
ON_RABBITMQ = replace(SCENARIO, checks=REQUEUED)


@pytest.mark.ackproof(brokers=["redis", "rabbitmq"], profiles=["default"])
def test_k10_prefetched_when_killed(run: RunTrial) -> None:
    run(ON_RABBITMQ if run.broker == "rabbitmq" else SCENARIO).assert_holds()

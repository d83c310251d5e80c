"""K12: killed after the result and before the late acknowledgement, a task runs to its end twice.

With ``worker_deduplicate_successful_tasks`` and a result backend it runs once: a redelivered
task whose result is SUCCESS is only acknowledged. Source: ``celery.app.trace``.

Not on SQS: whether a message is redelivered, kombu's transport does not say there, so the
setting changes nothing and the task runs twice all the same.
"""

from dataclasses import replace

import pytest

from harness.brokers.redis import restored_after
from harness.checks.outcome import outcome
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=2,
    task_duration_s=1.0,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "broker_transport_options": restored_after(3),
    },
    faults=[sigkill("main", when=step("late_ack_begins", nth=1))],
    checks=[outcome(lost=0, stranded=0, completed=2, duplicate_executions=1, starts=2, ends=2)],
)
ONCE = [outcome(lost=0, stranded=0, completed=2, starts=1, ends=1, redelivery_pending=0)]


@pytest.mark.ackproof(profiles=["default"])
def test_k12_killed_in_late_ack(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()


@pytest.mark.ackproof(profiles=["default"])
def test_k12_deduplicated(run: RunTrial) -> None:
    deduplicating: dict[str, object] = {
        **SCENARIO.settings,
        "worker_deduplicate_successful_tasks": True,
        "result_backend": "file://{trial_dir}",
    }
    checks = SCENARIO.checks if run.broker == "sqs" else ONCE
    run(replace(SCENARIO, settings=deduplicating, checks=checks)).assert_holds()

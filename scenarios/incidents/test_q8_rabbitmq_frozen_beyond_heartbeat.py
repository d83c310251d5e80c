"""Q8: on RabbitMQ, a task whose main process hangs for longer than the heartbeat runs twice.

Stopped (SIGSTOP) and continued: the server closes the silent connection and gives the message
to the other worker, while the child, which is not stopped, runs its own to the end.
"""

import pytest

from harness.checks.outcome import outcome
from harness.faults.freeze import freeze
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=1,
    task_duration_s=1.0,
    workers=2,
    concurrency=1,
    settings={
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        # The server closes after 2 to 3 of them without a word.
        "broker_heartbeat": 3,
    },
    faults=[freeze("main", for_s=15.0, when=step("started", nth=1))],
    checks=[outcome(lost=0, stranded=0, starts=2, ends=2, duplicate_effects=1)],
)


@pytest.mark.ackproof(brokers=["rabbitmq"], profiles=["default"])
def test_q8_rabbitmq_frozen_beyond_heartbeat(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

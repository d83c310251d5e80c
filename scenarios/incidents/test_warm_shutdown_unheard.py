"""A warm shutdown before the main process has heard that a task began: it runs to its end, twice.

On SIGTERM Celery closes its consumer, and that discards every job of which the main process has
not read yet that a child has begun it: their messages will come back, it reasons. One that is with
a child already is run all the same. Its result is read by nobody, so it is not acknowledged; the
child waits 30 s for somebody to read it, the shutdown lasts as much longer, and then the task is
run again. The moment is short on an idle worker and long on a busy one.

Source: ``celery.worker.consumer.Consumer.on_close`` and ``AsynPool.flush`` (Celery 5.7:
``job.discard()``), ``billiard.pool.Worker._ensure_messages_consumed`` (300 times 0.1 s). A trial of
ours came to this moment by chance; here the child is held up, so that it begins late.
"""

from dataclasses import replace

import pytest

from harness.checks.outcome import outcome
from harness.faults.freeze import freeze
from harness.faults.shutdown import shutdown
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

UNHEARD = Scenario(
    tasks=2,
    task_duration_s=1.0,
    concurrency=1,
    settings={"task_acks_late": True, "worker_prefetch_multiplier": 1},
    faults=[
        # The child has ended the first task, and is given the second while it is stopped.
        freeze("child", for_s=4.0, when=step("late_ack_begins")),
        shutdown("SIGTERM", when=step("sent", nth=2), after_s=1.0),
    ],
    checks=[outcome(starts=2, ends=2, completed=2, lost=0, stranded=0, duplicate_effects=1)],
)
HEARD = replace(
    UNHEARD,
    faults=[shutdown("SIGTERM", when=step("started", nth=2), after_s=0.5)],
    checks=[outcome(starts=1, ends=1, completed=2, lost=0, stranded=0, duplicate_effects=0)],
)


@pytest.mark.long
@pytest.mark.ackproof(brokers=["redis", "rabbitmq"], profiles=["default"])
def test_warm_shutdown_runs_an_unheard_task_twice(run: RunTrial) -> None:
    run(UNHEARD).assert_holds()


@pytest.mark.long
@pytest.mark.ackproof(brokers=["redis", "rabbitmq"], profiles=["default"])
def test_warm_shutdown_control_heard(run: RunTrial) -> None:
    run(HEARD).assert_holds()

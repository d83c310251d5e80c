"""A cold shutdown that comes before the main process has heard that a task began waits for it.

On SIGQUIT (and SIGTERM with ``REMAP_SIGTERM``) Celery ends the tasks that its main process knows to
be running. A task that a child has begun, and whose beginning the main process has not read
yet, is none of them: it is not ended, ``worker_soft_shutdown_timeout`` does not apply, and then
the pool is stopped, which waits for that task however long it takes. So a cold shutdown may outlast
any grace period; the moment is short on an idle worker and long on a busy one.

Source: ``celery.apps.worker.on_cold_shutdown`` (Celery 5.7: ``wait_for_soft_shutdown`` and
``cancel_active_requests`` go by ``celery.worker.state.active_requests``, then ``pool.stop()``).
A test of ours came to this moment by chance; here the main process is held up just before it
would have noted the beginning.
"""

from dataclasses import replace

import pytest

from harness.checks.outcome import outcome
from harness.faults.delay import delay
from harness.faults.shutdown import shutdown
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=1,
    task_duration_s=3.0,
    concurrency=1,
    settings={"task_acks_late": True, "worker_prefetch_multiplier": 1},
    faults=[
        delay(for_s=1.0, when=step("accepted")),
        shutdown("SIGQUIT", when=step("started")),
    ],
    checks=[outcome(starts=1, ends=1, completed=1, lost=0)],
)
SOFT = replace(SCENARIO, settings={**SCENARIO.settings, "worker_soft_shutdown_timeout": 1.0})


@pytest.mark.long
@pytest.mark.ackproof(brokers=["redis", "rabbitmq"], profiles=["default"])
def test_cold_shutdown_waits_for_an_unheard_task(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()


@pytest.mark.long
@pytest.mark.ackproof(brokers=["redis", "rabbitmq"], profiles=["default"])
def test_soft_shutdown_does_not_bound_an_unheard_task(run: RunTrial) -> None:
    run(SOFT).assert_holds()

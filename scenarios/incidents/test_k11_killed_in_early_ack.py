"""K11: acks early do not mean at most once: killed inside the acknowledgement, a task runs twice.

The child begins without waiting for the main process to acknowledge. Celery's documentation
says of acks early that a task "will never be executed again" when its worker dies.

Main stays in the acknowledgement until the child is in the body, and is killed then. One message,
because on Redis the next one may be lost with the worker: popped by the server, on its way to a
process that is no more.
"""

import pytest

from harness.brokers.redis import restored_after
from harness.checks.outcome import outcome
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=1,
    task_duration_s=4.0,
    concurrency=1,
    settings={
        "task_acks_late": False,
        "broker_transport_options": restored_after(3),
    },
    faults=[sigkill("main", when=step("early_ack_begins", nth=1), until="effect_begin")],
    checks=[outcome(lost=0, stranded=0, completed=1, duplicate_executions=1, starts=2, ends=1)],
)


@pytest.mark.ackproof(profiles=["default"])
def test_k11_killed_in_early_ack(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

"""A link that stalls for longer than the heartbeat, then lets go, loses nothing."""

from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_stranded_tasks import no_stranded_tasks
from harness.checks.no_unexpected_tasks import no_unexpected_tasks
from harness.checks.recovers_within import recovers_within
from harness.faults.stall import stall
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=8,
    task_duration_s=1.0,
    # Celery's own heartbeat is 120 s: shortened, so that a stall can outlast it in a test.
    # Not to 2 s: RabbitMQ then beats once a second, and Celery's mingle, which waits for a
    # second without a frame, never ends.
    settings={"broker_heartbeat": 3},
    faults=[stall(for_s=9.5, when=step("effect", nth=1))],
    checks=[no_lost_tasks(), no_stranded_tasks(), no_unexpected_tasks(), recovers_within(s=40)],
)


def test_network_stall(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

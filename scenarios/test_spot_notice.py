"""A spot interruption with a notice shorter than the running tasks loses nothing."""

from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_stranded_tasks import no_stranded_tasks
from harness.checks.no_unexpected_tasks import no_unexpected_tasks
from harness.checks.recovers_within import recovers_within
from harness.faults.spot import spot
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=6,
    task_duration_s=2.0,
    faults=[spot(notice_s=0.5, when=step("started", nth=2))],
    checks=[no_lost_tasks(), no_stranded_tasks(), no_unexpected_tasks(), recovers_within(s=30)],
)


def test_spot_notice(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

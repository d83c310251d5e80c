"""A pool child killed in the middle of a task loses nothing."""

from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_stranded_tasks import no_stranded_tasks
from harness.checks.no_unexpected_tasks import no_unexpected_tasks
from harness.checks.recovers_within import recovers_within
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=6,
    task_duration_s=2.0,
    faults=[sigkill("child", when=step("effect", nth=2))],
    checks=[no_lost_tasks(), no_stranded_tasks(), no_unexpected_tasks(), recovers_within(s=30)],
)


def test_child_sigkill(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

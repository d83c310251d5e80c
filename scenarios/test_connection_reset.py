"""Connections reset in the middle of a task lose nothing; what ran may run again."""

from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_stranded_tasks import no_stranded_tasks
from harness.checks.no_unexpected_tasks import no_unexpected_tasks
from harness.checks.recovers_within import recovers_within
from harness.faults.reset import reset
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=8,
    task_duration_s=1.0,
    faults=[reset(when=step("effect", nth=1))],
    checks=[no_lost_tasks(), no_stranded_tasks(), no_unexpected_tasks(), recovers_within(s=30)],
)


def test_connection_reset(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

"""Without a fault every task runs exactly once: the control."""

from harness.checks.duplicate_executions_at_most import duplicate_executions_at_most
from harness.checks.no_duplicate_effects import no_duplicate_effects
from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_stranded_tasks import no_stranded_tasks
from harness.checks.no_unexpected_tasks import no_unexpected_tasks
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=10,
    task_duration_s=0.5,
    checks=[
        no_lost_tasks(),
        no_stranded_tasks(),
        no_unexpected_tasks(),
        duplicate_executions_at_most(0),
        no_duplicate_effects(),
    ],
)


def test_calm(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

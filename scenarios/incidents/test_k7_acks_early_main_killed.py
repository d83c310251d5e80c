"""K7: acknowledged early, a task is lost with its worker, and its result stays STARTED.

Nobody is left to write another state: to a caller it looks like a task that takes long.
"""

import pytest

from harness.checks.outcome import outcome
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    tasks=1,
    task_duration_s=1.0,
    concurrency=1,
    settings={"task_track_started": True, "result_backend": "file://{trial_dir}/results"},
    faults=[sigkill("main", when=step("effect"))],
    checks=[outcome(lost=1, stranded=0, completed=0, duplicate_executions=0, results_started=1)],
)


@pytest.mark.ackproof(profiles=["default"])
def test_k7_acks_early_main_killed(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

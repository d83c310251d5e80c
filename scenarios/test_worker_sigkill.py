"""A worker killed in the middle of its tasks loses nothing, and a replacement takes over.

At the second effect both its slots are taken, and hardened it is given no more than that. On
Redis this matters: killed between a pop (the reply of its BRPOP) and the note of it, a worker
takes a message with it that nobody knows of. How often that happens at any other moment is
measured by ``benchmarks/redis_kills.py``.
"""

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
    faults=[sigkill("worker", when=step("effect", nth=2))],
    checks=[no_lost_tasks(), no_stranded_tasks(), no_unexpected_tasks(), recovers_within(s=30)],
)


def test_worker_sigkill(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

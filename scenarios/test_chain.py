"""A worker killed in the first task of a chain: it is run again, and what follows runs once.

Hardened, and killed in the body. Killed a moment later, when the rest of the chain has been
published, that runs twice: see ``incidents/test_c5_killed_after_chain_published.py``.
"""

import pytest

from harness.checks.chains_run_once import chains_run_once
from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.one_lineage import one_lineage
from harness.checks.results_readable import results_readable
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/pipelines",
    options={"variant": "chain"},
    tasks=2,
    task_duration_s=0.5,
    concurrency=1,
    settings={"result_backend": "file://{trial_dir}/results"},
    faults=[sigkill("worker", when=step("started", task="*.fetch"))],
    checks=[no_lost_tasks(), chains_run_once(), one_lineage(), results_readable()],
)


@pytest.mark.ackproof(profiles=["hardened"])
def test_chain(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

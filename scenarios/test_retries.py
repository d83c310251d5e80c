"""A worker killed in a task's second try: that is run again, in one lineage, with one effect.

Hardened. Killed when it has just published the try, the first one publishes it twice: see
``incidents/test_c6_killed_after_retry_published.py``.
"""

import pytest

from harness.checks.no_duplicate_effects import no_duplicate_effects
from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.one_lineage import one_lineage
from harness.checks.results_readable import results_readable
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/journey",
    options={"retrying": "1"},
    tasks=1,
    task_duration_s=0.5,
    concurrency=1,
    settings={"result_backend": "file://{trial_dir}/results"},
    faults=[sigkill("worker", when=step("started", nth=2))],
    checks=[no_lost_tasks(), no_duplicate_effects(), one_lineage(), results_readable()],
)


@pytest.mark.long
@pytest.mark.ackproof(profiles=["hardened"])
def test_retries(run: RunTrial) -> None:
    run(SCENARIO).assert_holds()

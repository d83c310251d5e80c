"""A trial in turns: each fault has a message of its own, and what became of it is known."""

import pytest

from harness.faults.raises import raises
from harness.faults.sigkill import sigkill
from harness.model import Fate, Outcome, step
from harness.plugin import RunTrial
from harness.scenario import Scenario

SCENARIO = Scenario(
    workload="workloads/journey",
    tasks=5,
    task_duration_s=0.4,
    concurrency=1,
    patience_s=12.0,
    in_turn=True,
    faults=[
        sigkill("child", when=step("result_stored")),
        sigkill("main", when=step("effect")),
        sigkill("main", when=step("received")),
        # It ends the worker, which gives the message back at the very end of that: a second later.
        raises(when=step("noted")),
        raises(when=step("effect")),
    ],
)
FATES = (Fate.ONCE, Fate.LOST, Fate.STRANDED, Fate.ONCE, Fate.ONCE)


@pytest.mark.ackproof(brokers=["redis"], profiles=["default"])
def test_each_fault_has_a_message_of_its_own(run: RunTrial) -> None:
    """With Celery's defaults on Redis: what each of five deaths does to the message it met, and to
    no other."""
    record = run(SCENARIO).record
    assert record.verdict is Outcome.HOLDS, record.reasons
    hits = [fault.hit for fault in record.faults]
    assert [[hit["fate"] for hit in one] for one in hits] == [[fate] for fate in FATES]
    assert len({hit["task_id"] for one in hits for hit in one}) == len(FATES)
    counts = record.counts
    assert (counts.completed, counts.lost, counts.stranded) == (3, 1, 1)
    assert counts.duplicate_executions == 0

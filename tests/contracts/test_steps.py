"""The steps that a message really comes by, on each broker and in each pool, and what faults do
there."""

from __future__ import annotations

import pytest

from harness import steps
from harness.faults.delay import delay
from harness.faults.freeze import freeze
from harness.faults.raises import raises
from harness.faults.sigkill import sigkill
from harness.model import NotHereError, step
from harness.protocols import Fault
from harness.scenario import Scenario
from tests.trials import TASKS, Trials, app, expected_steps, seen_on_the_way, way

BROKERS = ("redis", "rabbitmq", "sqs")
IN_MAIN = ("threads", "solo")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("broker", "pool"),
    [
        pytest.param(
            broker,
            pool,
            # On every commit: each broker once, and each pool once.
            marks=[pytest.mark.full] if broker != "redis" and pool != "prefork" else [],
        )
        for broker in BROKERS
        for pool in ("prefork", *IN_MAIN)
    ],
)
def test_the_steps_are_those_of_the_catalogue(trials: Trials, broker: str, pool: str) -> None:
    """A message comes by each step that the catalogue says is there, in the process that it
    says, and by no other."""
    history = seen_on_the_way(trials, broker, pool)
    ready = history.first("worker_ready")
    assert ready is not None
    assert ready.data["steps_missing"] == []
    assert not history.of("probe_failed")
    here = {one.name: one for one in steps.survey().here(broker, pool)}
    for task in TASKS:
        came_by = way(history, task)
        seen = [str(event.data["step"]) for event in came_by]
        assert sorted(seen) == sorted(expected_steps(here, task)), task
        for event in came_by:
            in_main = event.pid == ready.pid
            process = here[str(event.data["step"])].process
            if pool in IN_MAIN and process == "child":
                process = "main"
            assert process == ("producer" if event.role == "producer" else process)
            assert in_main == (process == "main"), event


def once(fault: Fault, pool: str = "prefork", names: str = "early") -> Scenario:
    return Scenario(
        pool=pool,
        tasks=1,
        task_duration_s=1.0,
        concurrency=1,
        faults=[fault],
        options={"names": names},
    )


@pytest.mark.parametrize(
    "fault",
    [
        freeze("main", for_s=0.5, when=step("effect")),
        freeze("child", for_s=0.5, when=step("started")),
        freeze("worker", for_s=0.5, when=step("received")),
        raises(when=step("effect")),
        delay(for_s=0.5, when=step("reserved")),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.target}",
)
def test_what_harms_nobody_lands(trials: Trials, fault: Fault) -> None:
    """A freeze, an exception and a delay: each with its evidence, at the message it was for, which
    is neither lost nor run again."""
    record = trials.run(once(fault), app(trials.folder / "app"), "redis")
    assert record.reasons == []
    (told,) = record.faults
    assert told.landed
    (hit,) = told.hit
    assert hit["step"] == fault.when.step
    assert (record.counts.lost, record.counts.duplicate_executions) == (0, 0)


@pytest.mark.parametrize("pool", IN_MAIN)
def test_main_killed_in_a_pool_without_processes(trials: Trials, pool: str) -> None:
    """Acks late on RabbitMQ: redelivered at once, and run to its end by the replacement."""
    fault = sigkill("main", when=step("effect"))
    record = trials.run(once(fault, pool, "late"), app(trials.folder / "app"), "rabbitmq")
    assert record.reasons == []
    assert record.faults[0].evidence["died_at_the_step"] is True
    assert (record.counts.completed, record.counts.duplicate_executions) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "pool", "broker", "why"),
    [
        (sigkill("child", when=step("effect")), "solo", "redis", "has no child processes"),
        (sigkill("main", when=step("sent")), "solo", "redis", "does not exist in the pool solo"),
        (sigkill("main", when=step("taken")), "prefork", "rabbitmq", "does not exist on rabbitmq"),
    ],
    ids=["no child", "no such step in the pool", "no such step on the broker"],
)
def test_a_step_that_is_not_there_is_refused(
    trials: Trials, fault: Fault, pool: str, broker: str, why: str
) -> None:
    """As soon as the worker says what it runs; never a silent no-op."""
    with pytest.raises(NotHereError, match=why):
        trials.run(once(fault, pool), app(trials.folder / "app"), broker)

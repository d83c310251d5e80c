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
GREEN = ("gevent", "eventlet")
IN_MAIN = ("threads", *GREEN, "solo")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("broker", "pool"),
    [
        pytest.param(
            broker,
            pool,
            # On every commit: each broker once, and each kind of pool once.
            marks=[pytest.mark.full]
            if (broker != "redis" and pool != "prefork") or pool == "eventlet"
            else [],
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


@pytest.mark.parametrize(
    "pool",
    [pytest.param(one, marks=[pytest.mark.full] if one in GREEN else []) for one in IN_MAIN],
)
def test_main_killed_in_a_pool_without_processes(trials: Trials, pool: str) -> None:
    """Acks late on RabbitMQ: redelivered at once, and run to its end by the replacement."""
    fault = sigkill("main", when=step("effect"))
    record = trials.run(once(fault, pool, "late"), app(trials.folder / "app"), "rabbitmq")
    assert record.reasons == []
    assert record.faults[0].evidence["died_at_the_step"] is True
    assert (record.counts.completed, record.counts.duplicate_executions) == (1, 1)


@pytest.mark.full
@pytest.mark.parametrize("pool", IN_MAIN)
@pytest.mark.parametrize("broker", ["redis", "sqs"])
def test_main_killed_where_it_comes_back_later(trials: Trials, broker: str, pool: str) -> None:
    """Acks late and hardened: it runs again, to its end; but on Redis an idle worker with a green
    pool never restores what a dead one had, and the horizon says so."""
    fault = sigkill("main", when=step("effect"))
    scenario = once(fault, pool, "late")
    record = trials.run(scenario, app(trials.folder / "app"), broker, "hardened")
    assert record.reasons == []
    (hit,) = record.faults[0].hit
    if broker == "redis" and pool in GREEN:
        assert hit["fate"] == "stranded"
        assert any("an idle worker makes no restore pass" in line for line in record.horizon)
    else:
        assert hit["fate"] == "duplicate"


@pytest.mark.full
@pytest.mark.parametrize("pool", IN_MAIN)
@pytest.mark.parametrize("broker", BROKERS)
def test_main_killed_with_acks_early(trials: Trials, broker: str, pool: str) -> None:
    """Lost; but not in solo, where nothing has been acknowledged yet: it comes back."""
    fault = sigkill("main", when=step("effect"))
    record = trials.run(once(fault, pool), app(trials.folder / "app"), broker)
    assert record.reasons == []
    (hit,) = record.faults[0].hit
    comes_back = "duplicate" if broker == "rabbitmq" else "stranded"
    assert hit["fate"] == (comes_back if pool == "solo" else "lost")


@pytest.mark.full
@pytest.mark.parametrize("pool", ["prefork", *IN_MAIN])
def test_what_acks_early_means(trials: Trials, pool: str) -> None:
    """A green pool acknowledges before the body; prefork and threads while it runs; solo when
    it has ended, for the event loop that is to send it waits for the body."""
    # Long enough that half of it is longer than a loaded machine keeps the main process waiting.
    duration_s = 2.0 if pool in {"prefork", "threads"} else 0.1
    history = seen_on_the_way(trials, "redis", pool, task_duration_s=duration_s)
    at_s = {str(e.data["step"]): e.mono_s for e in way(history, "early")}
    acked_s = at_s["early_acked"]
    if pool in GREEN:
        assert acked_s < at_s["started"]
    elif pool == "solo":
        assert acked_s > at_s["finished"]
    else:
        assert acked_s < at_s["effect_begin"]


@pytest.mark.full
@pytest.mark.parametrize("pool", ["threads", *GREEN])
def test_one_process_with_many_bodies(trials: Trials, pool: str) -> None:
    """Four bodies at once in one pid: the kill cuts all of them off, and each is run again by the
    replacement, to its end."""
    scenario = Scenario(
        pool=pool,
        tasks=4,
        task_duration_s=1.2,
        concurrency=4,
        faults=[sigkill("main", when=step("effect", nth=2))],
        options={"names": "late"},
        settings={"worker_prefetch_multiplier": 1},
    )
    record = trials.run(scenario, app(trials.folder / "app"), "rabbitmq")
    history = trials.history(record)
    assert record.reasons == []
    assert (record.counts.completed, record.counts.duplicate_executions) == (4, 4)
    assert record.counts.overlapping_executions == 0
    for runs in history.executions_of.values():
        assert [run.finished_s is None for run in runs] == [True, False]
    cut = [run for run in history.executions if run.cut_off_s is not None]
    assert len({(run.role, run.pid) for run in cut}) == 1


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

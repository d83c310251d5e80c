"""Older releases of Celery, each in an environment of its own with the kombu of its time.

The worker and the producer are that environment's; the harness is ours. Part of ``make full``; the
newest is what all other tests run on.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import steps
from harness.faults.sigkill import sigkill
from harness.model import Settings, step
from harness.record import FaultRecord
from harness.reporting.steps_table import listed
from harness.scenario import Scenario
from tests.trials import (
    SHORT_POLL,
    TASKS,
    Trials,
    app,
    expected_steps,
    seen_on_the_way,
    there,
    way,
)
from tests.versions.environments import PINS, environment

BROKERS = ("redis", "rabbitmq", "sqs")
AT_ONCE = "rabbitmq"
"""Brings a dead worker's messages back at once; Redis holds them for an hour, by default. SQS
does the same by itself, whatever Celery's version."""

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(600)]


@pytest.fixture(params=PINS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def commands(version: str) -> Path:
    """The ``bin`` folder of the version's environment."""
    return there(lambda: environment(version))


@pytest.mark.parametrize("broker", BROKERS)
def test_every_step_is_where_it_should_be(commands: Path, version: str, broker: str) -> None:
    """``ackproof steps --python`` finds each function, in the version asked for."""
    text, moved = listed(broker, "prefork", str(commands / "python"), json=False)
    assert not moved
    assert f"celery {version}, {PINS[version][1].replace('==', ' ')}" in text


@pytest.mark.parametrize("broker", BROKERS)
def test_a_message_comes_by_every_step(
    trials: Trials, commands: Path, version: str, broker: str
) -> None:
    """The probe, in that version's worker and producer, sees them all."""
    history = seen_on_the_way(trials, broker, "prefork", commands)
    ready = history.first("worker_ready")
    assert ready is not None
    kombu = PINS[version][1].partition("==")[2]
    assert ready.data["versions"] == {"celery": version, "kombu": kombu}
    assert ready.data["steps_missing"] == []
    assert not history.of("probe_failed")
    here = [one.name for one in steps.survey().here(broker, "prefork")]
    for task in TASKS:
        seen = [str(event.data["step"]) for event in way(history, task)]
        assert sorted(seen) == sorted(expected_steps(here, task)), task


def tried(
    trials: Trials,
    commands: Path,
    broker: str,
    settings: Settings,
    *faults: tuple[str, str, str],
) -> list[dict[str, object]]:
    """One message of each task named in ``faults`` (task, whom to kill, at which step); what was
    hit, and what became of it."""
    scenario = Scenario(
        tasks=1,
        task_duration_s=0.6,
        concurrency=1,
        faults=[
            sigkill(
                whom,
                when=step(name, task=task),
                until="effect_begin" if name == "early_ack_begins" else "",
            )
            for task, whom, name in faults
        ],
        options={"names": ",".join(task for task, _, _ in faults)},
        settings={**settings, **(SHORT_POLL if broker == "sqs" else {})},
    )
    workload = app(trials.folder / "app", str(commands))
    record = trials.run(scenario, workload, broker)
    assert record.reasons == []
    return [_only(fault) for fault in record.faults]


def _only(fault: FaultRecord) -> dict[str, object]:
    (hit,) = fault.hit
    return hit


@pytest.mark.parametrize("broker", BROKERS)
def test_a_killed_child(trials: Trials, commands: Path, broker: str) -> None:
    """K1 and K3: acknowledged early, lost; late and rejected when the worker is lost, run again."""
    early, late = tried(
        trials,
        commands,
        broker,
        {"task_reject_on_worker_lost": True},
        ("early", "child", "effect"),
        ("late", "child", "effect"),
    )
    assert (early["fate"], late["fate"]) == ("lost", "duplicate")


@pytest.mark.parametrize("broker", ["redis", AT_ONCE])
def test_killed_in_the_late_ack(trials: Trials, commands: Path, broker: str) -> None:
    """K12: runs to its end twice; on Redis the second run is to come, an hour later."""
    (hit,) = tried(trials, commands, broker, {}, ("late", "main", "late_ack_begins"))
    assert hit["fate"] == ("duplicate" if broker == AT_ONCE else "pending")


@pytest.mark.parametrize("broker", ["redis", AT_ONCE])
def test_killed_in_the_early_ack(trials: Trials, commands: Path, broker: str) -> None:
    """K11: not lost, for it was not acknowledged yet; its child is in the body, which nobody waits
    for. Redis holds it for an hour."""
    (hit,) = tried(trials, commands, broker, {}, ("early", "main", "early_ack_begins"))
    assert hit["fate"] == ("duplicate" if broker == AT_ONCE else "stranded")


def test_killed_before_the_note(trials: Trials, commands: Path) -> None:
    """R2: Redis has given the message away, and nobody has noted it: lost, acks late or not."""
    (hit,) = tried(trials, commands, "redis", {}, ("late", "main", "taken"))
    assert hit["fate"] == "lost"

"""The comparison can fail: one real trial, of which one side is told wrongly, in every way.

A worker is killed just after its second body returned, the next one before its first body began:
one message runs twice, and one that Celery began twice runs once. Then single events, lines and
counts are tampered with, and nothing of that is explained away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import msgspec
import pytest

from harness.faults.sigkill import sigkill
from harness.history import History
from harness.judge import judge
from harness.model import Event, Outcome, step
from harness.scenario import Scenario
from tests.independent.books import Line, Message
from tests.independent.comparing import Comparison, compare
from tests.independent.schedule import CLAIMS, OPTIONS, Drawn
from tests.independent.trials import LookingServices, Trial, run_drawn, servers

pytestmark = [pytest.mark.slow, pytest.mark.full]

SCENARIO = Scenario(
    workload="witness",
    tasks=4,
    task_duration_s=0.6,
    concurrency=1,
    settings={
        "worker_prefetch_multiplier": 1,
        "broker_transport_options": {**OPTIONS["redis"], "visibility_timeout": 6},
    },
    options={"ways": "plain", "gap_s": "0"},
    faults=[
        sigkill("main", when=step("result_stored", nth=2)),
        sigkill("main", when=step("started", nth=3)),
    ],
    checks=CLAIMS,
)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("sabotage")
    with servers(folder) as hall:
        drawn = Drawn(0, 0, "redis", "acks_late", SCENARIO)
        yield run_drawn(drawn, LookingServices(hall), folder)


class Told(NamedTuple):
    """What the two sides say; either may be tampered with."""

    events: tuple[Event, ...]
    lines: list[Line]
    held: set[Message]


def compared(trial: Trial, told: Told) -> Comparison:
    """The engine counts and judges what it is told, as it would have."""
    history = History(told.events)
    found = judge(history, SCENARIO.checks)
    record = msgspec.structs.replace(
        trial.record, counts=found.counts, verdict=found.verdict.outcome, faults=list(found.faults)
    )
    return compare(record, history, told.lines, told.held)


def as_it_was(trial: Trial) -> Told:
    return Told(trial.history.events, trial.lines, trial.held)


def once_run(trial: Trial) -> Message:
    """A message that was run once, some time before its process was killed."""
    first = next(line for line in trial.lines if line.what == "returns")
    return first.message


def twice_run(trial: Trial) -> Message:
    starts = [line.message for line in trial.lines if line.what == "start"]
    return next(message for message in starts if starts.count(message) > 1)


def without(trial: Trial, message: Message, *kinds: str, last: bool = False) -> Told:
    """The probe did not write these events of the message: all of them, or the last of each."""
    doomed = [e for e in trial.history.events if e.message == message and e.kind in kinds]
    if last:
        doomed = [[e for e in doomed if e.kind == kind][-1] for kind in kinds]
    assert doomed
    left = tuple(event for event in trial.history.events if event not in doomed)
    return as_it_was(trial)._replace(events=left)


def unwritten(trial: Trial, *what: str, message: Message) -> Told:
    """The ledger lacks these lines of the message."""
    doomed = [line for line in trial.lines if line.message == message and line.what in what]
    assert doomed
    left = [line for line in trial.lines if line not in doomed]
    return as_it_was(trial)._replace(lines=left)


def started_again(trial: Trial) -> Told:
    """The probe has a run of a message that never was."""
    message = once_run(trial)
    at = [e for e in trial.history.of("started", "finished") if e.message == message]
    ghosts = tuple(msgspec.structs.replace(e, pid=1, mono_s=e.mono_s + 0.001) for e in at)
    return as_it_was(trial)._replace(events=(*trial.history.events, *ghosts))


def copied(trial: Trial) -> Told:
    """The ledger has a run of which the probe knows nothing."""
    run = next(line.run for line in trial.lines if line.what == "returns")
    ghosts = [replace(line, run="ghost") for line in trial.lines if line.run == run]
    return as_it_was(trial)._replace(lines=[*trial.lines, *ghosts])


def held_on(trial: Trial) -> Told:
    """The test found a message with the broker that the engine did not name."""
    return as_it_was(trial)._replace(held={once_run(trial)})


SABOTAGES: dict[str, Callable[[Trial], Told]] = {
    "completed": lambda trial: without(trial, once_run(trial), "finished", "returned"),
    "confirmed": lambda trial: without(trial, once_run(trial), "publish_ok"),
    "attempted": lambda trial: without(trial, once_run(trial), "publish_invoke", "publish_ok"),
    "duplicate_executions": lambda trial: without(
        trial, twice_run(trial), "started", "finished", "returned", last=True
    ),
    "overlapping_executions": started_again,
    "redelivery_pending": held_on,
}
TAMPERED: dict[str, Callable[[Trial], Told]] = {
    "completed": lambda trial: unwritten(trial, "returns", message=once_run(trial)),
    "confirmed": lambda trial: unwritten(trial, "published", message=once_run(trial)),
    "unexpected": lambda trial: unwritten(trial, "publishes", "published", message=once_run(trial)),
    "duplicate_executions": copied,
}


def test_what_nobody_tampered_with_agrees(trial: Trial) -> None:
    """Killed at `started`, the probe has an event that the ledger has not: held there by a fault,
    the body never began, and the engine does not count it. No margin is needed."""
    how = compared(trial, as_it_was(trial))
    assert how.agrees, f"{how.differences} {how.contradiction}\n{how.told}"
    assert how.margins == []
    assert trial.record.counts.duplicate_executions == 1
    assert trial.record.verdict is Outcome.BROKEN  # for nothing may run twice


@pytest.mark.parametrize("name", SABOTAGES)
def test_an_engine_that_is_told_wrongly_is_found_out(trial: Trial, name: str) -> None:
    """Also where the process was killed later on: that is no margin."""
    assert name in compared(trial, SABOTAGES[name](trial)).differences


@pytest.mark.parametrize("name", TAMPERED)
def test_a_ledger_that_lacks_a_line_is_found_out(trial: Trial, name: str) -> None:
    """The two are held against each other in both directions."""
    assert name in compared(trial, TAMPERED[name](trial)).differences


@pytest.mark.parametrize("name", ["attempted", "lost", "stranded", "duplicate_executions"])
def test_a_rule_that_counts_one_too_many_is_found_out(trial: Trial, name: str) -> None:
    """Whichever count it is, and whatever the margins."""
    counts = msgspec.structs.asdict(trial.record.counts)
    wrong = msgspec.structs.replace(trial.record.counts, **{name: counts[name] + 1})
    record = msgspec.structs.replace(trial.record, counts=wrong)
    how = compare(record, trial.history, trial.lines, trial.held)
    assert set(how.differences) == {name}


def test_a_verdict_that_the_ledger_denies_is_found_out(trial: Trial) -> None:
    """Though every count is right."""
    record = msgspec.structs.replace(trial.record, verdict=Outcome.HOLDS)
    how = compare(record, trial.history, trial.lines, trial.held)
    assert not how.differences
    assert how.contradiction == "the verdict is holds, the ledger has duplicate_executions"

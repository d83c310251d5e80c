"""What is stored of a trial is what is judged again, offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from pkgutil import iter_modules

import msgspec
import pytest
from msgspec import Struct
from msgspec.json import encode

from harness import bundle, checks
from harness.checks.no_lost_tasks import no_lost_tasks
from harness.faults.sigkill import sigkill
from harness.model import UsageError, step
from harness.protocols import Check
from harness.scenario import Scenario
from tests.histories import Story

NUMBERS = {"int": 3, "float": 2.5}
"""A value for each parameter of a shipped check, by its type."""


class Plan(Struct, frozen=True):
    id: str = "calm-redis-0"
    seed: int = 7


def shipped() -> list[Check]:
    """One of each check under harness/checks, by walking that folder."""
    found: list[Check] = []
    for module in iter_modules(checks.__path__):
        make = getattr(import_module(f"harness.checks.{module.name}"), module.name)
        asked = signature(make).parameters.values()
        # `outcome` takes any count by its name.
        by_name = any(one.kind is one.VAR_KEYWORD for one in asked)
        given = {"lost": 1} if by_name else {one.name: NUMBERS[one.annotation] for one in asked}
        found.append(make(**given))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, judged_by: Sequence[Check] = (), **scenario: object) -> Story:
    story = Story().publish("a").runs("a").ends()
    asked = Scenario(checks=judged_by, **scenario)  # type: ignore[arg-type]
    settings = {"task_acks_late": True}
    bundle.write(folder, Plan(), asked, settings, {"x": [1]}, story.history())
    return story


@pytest.mark.parametrize("check", shipped(), ids=str)
def test_every_shipped_check_comes_back(folder: Path, check: Check) -> None:
    """With its parameters, and equal to the one that was written."""
    write(folder, [check])
    assert bundle.read(folder).checks() == [check]


def test_checks_are_shipped() -> None:
    """A moved folder must not pass as one without checks."""
    assert len(shipped()) >= 6


def test_the_history_comes_back(folder: Path) -> None:
    """Event by event; so what is judged again is what was judged."""
    story = write(folder, shipped())
    stored = bundle.read(folder)
    assert encode(stored.history.events) == encode(story.history().events)
    assert stored.plan == {"id": "calm-redis-0", "seed": 7}
    assert stored.settings == {"task_acks_late": True}


def test_the_file_is_for_people_and_replays_too(folder: Path) -> None:
    """The scenario's own terms, the faults with their triggers, and the live settings."""
    fault = sigkill("child", when=step("effect", nth=2))
    write(folder, tasks=4, faults=[fault], options={"variant": "naive"})
    stored = json.loads((folder / "trial.json").read_text())
    assert stored["scenario"]["tasks"] == 4
    assert stored["scenario"]["options"] == {"variant": "naive"}
    assert stored["live_settings"] == {"x": [1]}
    (told,) = stored["faults"]
    assert told["kind"] == "sigkill"
    assert told["when"] == {"step": "effect", "nth": 2, "task": ""}


@pytest.mark.parametrize("left", [1, 20])
def test_a_torn_last_line_was_never_an_event(folder: Path, left: int) -> None:
    """The process that wrote it died; what stands before it stands."""
    story = write(folder)
    history = folder / "history.jsonl"
    *whole, last = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"".join(whole) + last[:-left])
    assert encode(bundle.read(folder).history.events) == encode(story.history().events[:-1])


def damage(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        ("history.jsonl", '"publish_ok"', '"publish_ok', "is not a whole trial"),
        ("history.jsonl", '"mono_s":', '"mono":', "is not a whole trial"),
        ("trial.json", "{", "", "is not a whole trial"),
        ("trial.json", '"checks"', '"cheks"', "missing required field `checks`"),
    ],
)
def test_a_damaged_trial(folder: Path, name: str, old: str, new: str, line: str) -> None:
    """One line that says what is wrong, and of which trial."""
    write(folder, shipped())
    damage(folder, name, old, new)
    with pytest.raises(UsageError, match=line) as raised:
        bundle.read(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('"check": "no_lost_tasks"', '"check": "no_los_tasks"', "Did you mean no_lost_tasks"),
        ('"check": "no_lost_tasks"', '"check": "os:system"', "not one that is installed"),
        ('"s": 2.5', '"s": "long"', "Expected `float`"),
    ],
)
def test_a_damaged_check(folder: Path, old: str, new: str, line: str) -> None:
    """Of another name, of nobody's, with a parameter that is none."""
    write(folder, shipped())
    damage(folder, "trial.json", old, new)
    with pytest.raises((UsageError, msgspec.ValidationError), match=line):
        bundle.read(folder).checks()


def test_an_older_trial_has_its_checks_by_module(folder: Path) -> None:
    """As 0.1.0 stored them; a rename of ours breaks no old run."""
    write(folder, [no_lost_tasks()])
    older = "harness.checks.no_lost_tasks:NoLostTasks"
    damage(folder, "trial.json", '"no_lost_tasks"', f'"{older}"')
    assert bundle.read(folder).checks() == [no_lost_tasks()]


@pytest.mark.parametrize("name", ["trial.json", "history.jsonl"])
def test_half_a_trial(folder: Path, name: str) -> None:
    """A trial that was cut off has no history, and is none."""
    write(folder)
    (folder / name).unlink()
    with pytest.raises(UsageError, match=r"is not a whole trial: .*No such file"):
        bundle.read(folder)

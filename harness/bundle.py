"""A trial's folder: enough to judge it again, offline.

trials/<id>/trial.json      plan, settings, checks
            history.jsonl   every event, merged, in order
            events/         what each process's probe wrote
            logs/           what each process printed
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from harness import checks, reading
from harness.history import History
from harness.model import Event, Settings, UsageError
from harness.protocols import Check
from harness.scenario import Scenario


class Bundle(Struct, frozen=True):
    """What ``read`` gives back."""

    plan: dict[str, object]
    settings: dict[str, object]
    claims: Sequence[dict[str, object]]
    """The checks, as they are stored."""
    history: History

    def checks(self) -> list[Check]:
        """Look the checks up. Raises UsageError for one that is not installed."""
        return [checks.load(claim) for claim in self.claims]


class _Stored(Struct, frozen=True):
    plan: dict[str, object]
    scenario: dict[str, object]
    settings: dict[str, object]
    live_settings: dict[str, object]
    faults: list[dict[str, object]]
    checks: list[dict[str, object]]


def write(
    folder: Path,
    plan: Struct,
    scenario: Scenario,
    settings: Settings,
    live: Settings,
    history: History,
) -> None:
    """Store a trial. The history goes last: with it the bundle is whole."""
    stored = _Stored(
        plan=msgspec.to_builtins(plan),
        scenario={
            "workload": scenario.workload,
            "tasks": scenario.tasks,
            "task_duration_s": scenario.task_duration_s,
            "workers": scenario.workers,
            "concurrency": scenario.concurrency,
            "pool": scenario.pool,
            "settings": dict(scenario.settings),
            "options": scenario.options,
            "env": scenario.env,
            "replace_workers": scenario.replace_workers,
            "late_after_s": scenario.late_after_s,
            "patience_s": scenario.patience_s,
            "bound_s": scenario.bound_s,
            "attempts_max": scenario.attempts_max,
            "in_turn": scenario.in_turn,
        },
        settings=dict(settings),
        live_settings=dict(live),
        faults=[{"kind": fault.kind, **msgspec.to_builtins(fault)} for fault in scenario.faults],
        checks=[checks.dump(check) for check in scenario.checks],
    )
    (folder / "trial.json").write_bytes(msgspec.json.format(msgspec.json.encode(stored)))
    lines = b"".join(msgspec.json.encode(event) + b"\n" for event in history.events)
    (folder / "history.jsonl").write_bytes(lines)


def read(folder: Path) -> Bundle:
    """A stored trial. Raises UsageError when the folder is none, or was cut off."""
    try:
        stored = reading.decode(reading.content(folder / "trial.json"), _Stored)
        text = reading.content(folder / "history.jsonl")
        whole = text[: text.rfind(b"\n") + 1]  # a torn last line was never an event
        events = [reading.decode(line, Event) for line in whole.splitlines()]
    except (UsageError, KeyError, UnicodeError, msgspec.MsgspecError) as error:
        raise UsageError(f"{folder} is not a whole trial: {error}") from error
    return Bundle(
        plan=stored.plan,
        settings=stored.settings,
        claims=stored.checks,
        history=History(events),
    )

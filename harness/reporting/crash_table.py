"""The crash table: what became of a message when something died at one step of its life.

Rows are steps and kinds of death, columns brokers and profiles. A cell tells the fates of all
its tries; one in which they differ is random, and shows each rate with its interval. Made from
the trials whose scenario is called ``crash_table...``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from msgspec import Struct

from harness import steps
from harness.model import Fate
from harness.profiles import PROFILES
from harness.record import FaultRecord, RunRecord
from harness.reporting.summary import NONE, md
from harness.reporting.tries import Tries, of_faults

T = TypeVar("T")
SCENARIO = "crash_table"
WORDS = {
    Fate.ONCE: "once",
    Fate.DUPLICATE: "duplicate",
    Fate.PENDING: "once, still held",
    Fate.STRANDED: "stranded",
    Fate.LOST: "lost",
}
LEGEND = (
    "Each cell: what became of the message that stood at the step. **once**: completed, and its "
    "body was never started again. **duplicate**: its body was started more than once. **once, "
    "still held**: completed, and the broker still holds it, so it would be delivered again. "
    "**lost**: never completed, and nobody holds it. **stranded**: never completed, and held until "
    "a visibility timeout later than the trial waited. *random*: the tries of the cell differ. "
    f"{NONE}: there is no such step, or nothing there to be killed. A worker that lives on and "
    "keeps the message is restarted after it, as a deploy would one day."
)
_STEP = re.compile(r"step\((\w+)")


class Agreement(StrEnum):
    """How the same cell came out in two runs."""

    SAME = "same"
    RANDOM = "random"
    """The tries differ, within a run or between them, and the intervals of their rates overlap."""
    DIFFERS = "differs"
    MISSING = "missing"


class Row(Struct, frozen=True, order=True):
    """A step, and what died at it."""

    step: str
    death: str


class Column(Struct, frozen=True, order=True):
    """A broker with a profile."""

    broker: str
    profile: str


class CrashTable(Struct, frozen=True):
    """The cells by row and column; a cell that is absent does not exist."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    cells: Mapping[tuple[Row, Column], Tries]

    def cell(self, row: Row, column: Column) -> Tries | None:
        return self.cells.get((row, column))

    def deaths(self) -> list[tuple[str, list[Row]]]:
        """Each kind of death, and the steps that it was tried at."""
        kinds = _in_order(row.death for row in self.rows)
        return [(kind, [row for row in self.rows if row.death == kind]) for kind in kinds]


def build(record: RunRecord) -> CrashTable | None:
    """The table of a run; None when it has none of its trials."""
    faults: dict[tuple[Row, Column], list[FaultRecord]] = {}
    for trial in record.trials:
        if trial.scenario.startswith(SCENARIO):
            column = Column(trial.broker, trial.profile)
            for fault in trial.faults:
                row = Row(_step(fault.trigger), _death(fault))
                faults.setdefault((row, column), []).append(fault)
    if not faults:
        return None
    known, profiles = steps.names(), tuple(PROFILES)
    deaths = _in_order(row.death for row, _ in faults)
    brokers = _in_order(column.broker for _, column in faults)
    rows = sorted(
        {row for row, _ in faults},
        key=lambda r: (deaths.index(r.death), _place(r.step, known), r.step),
    )
    columns = sorted(
        {column for _, column in faults},
        key=lambda c: (brokers.index(c.broker), _place(c.profile, profiles), c.profile),
    )
    cells = {where: of_faults(planned) for where, planned in faults.items()}
    return CrashTable(tuple(rows), tuple(columns), cells)


def told(tries: Tries | None) -> str:
    """A cell in words: ``lost 3``; ``random: once 1/3 (…), lost 2/3 (…)``."""
    if tries is None:
        return NONE
    if not tries.seen:
        return f"? (of {tries.planned} tries)"
    if len(tries.seen) == 1:
        (fate,) = tries.seen
        return f"{WORDS[fate]} {tries.fates[fate]}"
    return "random: " + ", ".join(f"{WORDS[fate]} {tries.rate(fate)}" for fate in tries.seen)


def markdown(table: CrashTable) -> str:
    """A section a death, one table each: steps down, brokers with profiles across."""
    parts = [LEGEND]
    for death, rows in table.deaths():
        head = ["step", *(md(f"{c.broker} {c.profile}") for c in table.columns)]
        lines = [head, ["---"] * len(head)]
        lines += [[md(r.step), *(told(table.cell(r, c)) for c in table.columns)] for r in rows]
        drawn = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"## {md(death)}\n\n{drawn}")
    return "\n\n".join(parts) + "\n"


def as_csv(table: CrashTable) -> str:
    """One line a cell: its tries, and each fate with its rate's interval."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    bounds = [f"{fate}_{bound}" for fate in WORDS for bound in ("low", "high")]
    writer.writerow(["step", "death", "broker", "profile", "planned", "hits", *Fate, *bounds])
    for row in table.rows:
        for column in table.columns:
            tries = table.cell(row, column)
            if tries is not None:
                rates = [f"{edge:.4f}" for fate in WORDS for edge in tries.rate(fate).interval]
                counts = [tries.fates.get(fate, 0) for fate in Fate]
                names = [row.step, row.death, column.broker, column.profile]
                writer.writerow([*names, tries.planned, tries.hits, *counts, *rates])
    return output.getvalue()


def compare(first: CrashTable, second: CrashTable) -> dict[tuple[Row, Column], Agreement]:
    """Cell by cell, whether two runs say the same."""
    every = {**first.cells, **second.cells}
    return {where: _agreement(first.cells.get(where), second.cells.get(where)) for where in every}


def differences(first: RunRecord, second: RunRecord) -> tuple[list[str], bool]:
    """Lines to show, and whether the tables of two runs differ beyond chance."""
    one, other = build(first), build(second)
    if one is None or other is None:
        return [], False
    agreement = compare(one, other)
    lines = [
        f"{row.step}, {row.death}, {column.broker} {column.profile}: {how}: "
        f"{told(one.cell(row, column))} | {told(other.cell(row, column))}"
        for (row, column), how in agreement.items()
        if how is not Agreement.SAME
    ]
    tally = {how: list(agreement.values()).count(how) for how in Agreement}
    summary = ", ".join(f"{number} {how}" for how, number in tally.items())
    lines.append(f"crash table, {len(agreement)} cells: {summary}")
    return lines, bool(tally[Agreement.DIFFERS] + tally[Agreement.MISSING])


def _agreement(one: Tries | None, other: Tries | None) -> Agreement:
    if one is None or other is None or not one.known or not other.known:
        return Agreement.MISSING
    if one.seen == other.seen and len(one.seen) == 1:
        return Agreement.SAME
    # Two runs that each are sure, and say different things, do not agree by chance.
    both_sure = len(one.seen) == len(other.seen) == 1
    alike = all(one.rate(fate).overlaps(other.rate(fate)) for fate in WORDS)
    return Agreement.RANDOM if alike and not both_sure else Agreement.DIFFERS


def _step(trigger: str) -> str:
    found = _STEP.match(trigger)
    return found.group(1) if found else trigger


def _death(fault: FaultRecord) -> str:
    match fault.kind:
        case "sigkill":
            return f"SIGKILL of {fault.target}"
        case "freeze":
            return f"SIGSTOP of {fault.target} for a while"
        case "raises":
            return "exception"
        case other:
            return f"{other} of {fault.target}"


def _place(name: str, known: tuple[str, ...]) -> int:
    return known.index(name) if name in known else len(known)


def _in_order(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))

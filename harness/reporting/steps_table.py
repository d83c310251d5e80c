"""``ackproof steps``: the steps of a broker and pool, with the function that each stands at."""

from __future__ import annotations

import io

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import steps
from harness.naming import known

WIDTH = 150


def listed(broker: str, pool: str, python: str, *, json: bool) -> tuple[str, list[str]]:
    """The text to show, and one line for each step that is not where it should be.

    Raises UsageError for a pool or interpreter that is none.
    """
    known(pool, steps.POOLS, "pool")
    found = steps.survey(python)
    here = found.here(broker, pool)
    moved = [f"the step {step.name} cannot be watched: {step.moved}" for step in here if step.moved]
    if json:
        return msgspec.json.format(msgspec.json.encode(here)).decode(), moved
    return _drawn(found, here, broker, pool), moved


def _drawn(found: steps.Survey, here: tuple[steps.Step, ...], broker: str, pool: str) -> str:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in ("step", "process", "stands", "what is so then"):
        table.add_column(head, overflow="fold")
    for step in here:
        process = "main" if step.process == "child" and pool != "prefork" else step.process
        where = step.where or "the function that the workload's `effect` names"
        stands = f"{step.moment} {where}" + (" MOVED" if step.moved else "")
        table.add_row(step.name, process, Text(stands), Text(step.what))
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    lines = [f"Steps of a message's life on {broker}, pool {pool} ({versions}):"]
    for name in steps.names():
        why = steps.absent(name, broker, pool)
        if why:
            lines.append(f"not here: {why}")
    if pool != "prefork":
        lines.append(f"not here: {steps.absent('started', broker, pool, child=True)}")
    output = io.StringIO()
    Console(file=output, width=WIDTH).print(table)
    return "\n".join([lines[0], output.getvalue().rstrip(), *lines[1:]])

"""What a run leaves for people and for machines: one record, told in four files.

Stands after the ten steps of a trial. Reads :mod:`harness.record` alone: whatever is in
a report can be written again from a stored ``run.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.reporting import crash_table, html, junit, run_json, summary

if TYPE_CHECKING:
    from pathlib import Path

    from harness.record import RunRecord

__all__ = ["write_all"]


def write_all(record: RunRecord, folder: Path) -> None:
    """Write ``run.json``, ``summary.md``, ``junit.xml`` and ``index.html`` into ``folder``; and
    ``crash_table.md`` and ``.csv`` for a run that measured one.

    Makes the folder where it is missing, replaces each file as a whole, and may be called
    again as a run goes on. Raises UsageError where the folder can't be written.
    """
    # The record first: the other three can be made again from it.
    run_json.write(record, folder)
    run_json.replace_file(folder / "summary.md", summary.render(record))
    run_json.replace_file(folder / "junit.xml", junit.render(record))
    run_json.replace_file(folder / "index.html", html.render(record))
    table = crash_table.build(record)
    if table is not None:
        run_json.replace_file(folder / "crash_table.md", crash_table.markdown(table))
        run_json.replace_file(folder / "crash_table.csv", crash_table.as_csv(table))

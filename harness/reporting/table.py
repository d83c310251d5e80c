"""The end of a study in the terminal: the reasons first, then a table on one screen.

Gives rich renderables and prints nothing: the caller's Console knows whether there is a
terminal, how wide it is, and whether ``NO_COLOR`` is set.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from harness.model import Outcome
from harness.reporting.summary import (
    NONE,
    TABLE_COLUMNS,
    grouped,
    name_of,
    numbers,
    one_line,
    reasons_of,
    surprises_first,
    verdict_words,
)

if TYPE_CHECKING:
    from harness.record import RunRecord, TrialRecord

_COLOUR = {Outcome.HOLDS: "green", Outcome.BROKEN: "red", Outcome.UNKNOWN: "yellow"}
_ROOMY_WIDTH = 92
_REASON_LENGTH_MAX = 120
_LIFE_STORY = re.compile(r": [0-9a-f]{8} \[.*| \(visibility timeout .*\)| \(handed out .*\)")
"""What is for the report: the steps of single messages, where a number comes from."""


def study_table(record: RunRecord, width: int = 100) -> Table:
    """One row a trial: scenario, broker, profile, verdict, and the numbers that matter.

    A scenario or broker that repeats the row above is left blank. With the scenarios that
    ship, 36 trials take 39 lines of 92 columns; 80 where ``width``, in columns, is less.
    """
    roomy = width >= _ROOMY_WIDTH
    padding = (0, 1, 0, 0) if roomy else (0, 0, 0, 0)
    table = Table(box=box.SIMPLE_HEAD, padding=padding, pad_edge=False, show_edge=False)
    for name in ("scenario", "broker", "profile"):
        table.add_column(name, vertical="bottom", overflow="ellipsis", no_wrap=True, max_width=28)
    table.add_column("verdict", min_width=7)
    for name in TABLE_COLUMNS:
        head = name if roomy else name.replace("duplicates", "dupli-\ncates")
        table.add_column(head.replace(" ", "\n"), justify="right", no_wrap=True)
    above: TrialRecord | None = None
    for trial in grouped(record.trials):
        table.add_row(*_names(trial, above), _verdict(trial), *map(_number, numbers(trial)))
        above = trial
    return table


def reasons_lines(record: RunRecord, lines_max: int = 20) -> list[Text]:
    """One line a trial that did not pass or broke as expected, surprises first.

    At most ``lines_max``, then one that says how many more ``summary.md`` has. Text that
    came from outside is stripped of control characters and is never read as markup.
    """
    telling = surprises_first(record.trials)
    lines = [_reason(trial) for trial in telling[:lines_max]]
    if len(telling) > lines_max:
        lines.append(Text(f"and {len(telling) - lines_max} more, in summary.md", style="dim"))
    return lines


def _names(trial: TrialRecord, above: TrialRecord | None) -> tuple[Text, Text, Text]:
    same_scenario = above is not None and above.scenario == trial.scenario
    same_broker = same_scenario and above is not None and above.broker == trial.broker
    return (
        Text("" if same_scenario else one_line(trial.scenario, 100)),
        Text("" if same_broker else one_line(trial.broker, 100)),
        Text(one_line(trial.profile, 100)),
    )


def _verdict(trial: TrialRecord) -> Text:
    """Coloured by the verdict; bold where it is not the expected one, a blind canary too."""
    colour = _COLOUR[trial.verdict]
    if trial.verdict is Outcome.HOLDS and not trial.passed:
        colour = _COLOUR[Outcome.BROKEN]
    return Text(verdict_words(trial), style=colour if trial.passed else f"bold {colour}")


def _number(text: str) -> Text:
    """Nothing to see in a zero: what is not zero stands out."""
    if text == NONE:
        return Text("-", style="dim")
    return Text(text, style="dim" if text == "0" else "")


def _reason(trial: TrialRecord) -> Text:
    reasons = reasons_of(trial)
    verdict = _verdict(trial)
    verdict.pad_right(max(0, len(Outcome.UNKNOWN) - len(verdict)))
    line = Text.assemble(verdict, "  ", (name_of(trial), "bold"))
    if reasons:
        told = _LIFE_STORY.sub("", one_line(reasons[0]))
        line.append(f": {one_line(told, _REASON_LENGTH_MAX)}")
    if len(reasons) > 1:
        line.append(f" (+{len(reasons) - 1})", style="dim")
    return line

"""``ackproof doctor``: what is installed, what it enables, and how to get the rest."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness import parts

_WIDTH_MIN = 100


def table(survey: list[parts.Found | parts.Missing] | None = None) -> Table:
    """Show each part: its version, where it is, how to get it, and what it enables."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("part", no_wrap=True)
    table.add_column("version", no_wrap=True)
    table.add_column("where found, and how to get it", overflow="fold", ratio=3)
    table.add_column("enables", ratio=2)
    for entry in parts.survey() if survey is None else survey:
        version, where = _state(entry)
        how = f"[dim]{escape(entry.part.how)}[/dim]"
        table.add_row(entry.part.name, version, f"{where}\n{how}", escape(entry.part.enables))
    return table


def report(*, json: bool) -> tuple[str, bool]:
    """Give the doctor's text, and whether at least one broker can run."""
    survey = parts.survey()
    can_run = parts.brokers(survey)
    text = _json(survey) if json else _text(survey)
    return text, any(can_run.values())


def verdict(survey: list[parts.Found | parts.Missing]) -> str:
    """Say in a line which brokers can run and which cannot, for want of what."""
    lacking = {
        name: [
            e.part.name for e in survey if isinstance(e, parts.Missing) and e.part.broker == name
        ]
        for name in parts.brokers(survey)
    }
    can = [name for name, missing in lacking.items() if not missing]
    line = f"Brokers that can run: {', '.join(can) or 'none'}."
    for name, missing in lacking.items():
        if missing:
            line += f" {name} needs {', '.join(missing)}."
    return line


def _text(survey: list[parts.Found | parts.Missing]) -> str:
    text = io.StringIO()
    console = Console(file=text, width=max(_WIDTH_MIN, Console().width))
    console.print(table(survey))
    console.print(f"\n{verdict(survey)}", markup=False, highlight=False)
    # A table pads its cells; nobody needs the blanks at the ends of lines.
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _state(entry: parts.Found | parts.Missing) -> tuple[str, str]:
    if isinstance(entry, parts.Missing):
        return "[red]missing[/red]", f"[red]{escape(entry.why)}[/red]"
    where = _short(entry.path) + (f" ({entry.note})" if entry.note else "")
    return entry.version or "unknown", escape(where)


def _short(path: str) -> str:
    """As seen from the current folder, where that is shorter."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _json(survey: list[parts.Found | parts.Missing]) -> str:
    record = {
        "parts": [
            {
                "name": entry.part.name,
                "found": isinstance(entry, parts.Found),
                "version": entry.version if isinstance(entry, parts.Found) else "",
                "path": entry.path if isinstance(entry, parts.Found) else "",
                "note": entry.note if isinstance(entry, parts.Found) else entry.why,
                "enables": entry.part.enables,
                "how": entry.part.how,
            }
            for entry in survey
        ],
        "brokers": parts.brokers(survey),
    }
    return msgspec.json.format(msgspec.json.encode(record)).decode() + "\n"

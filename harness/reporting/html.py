"""``index.html``: the report people read. One file, no script, no request to anywhere.

Everything a record holds may have come from outside, so the template escapes all of it,
every text is cleaned of control characters on its way in, and the page's own policy
forbids the browser to load or run anything.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.model import Fate, Outcome
from harness.reporting import crash_table, summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.record import FaultRecord, RunRecord, TrialRecord
    from harness.reporting.tries import Tries

_TEXT_LENGTH_MAX = 2_000
_NAME_LENGTH_MAX = 80
_ROWS_MAX = 20
_LINE_LENGTH_MAX = 100


class Column(NamedTuple):
    broker: str
    profile: str


class Entry(NamedTuple):
    """A trial and the fragment that its details stand at."""

    anchor: str
    trial: TrialRecord


class Row(NamedTuple):
    """One scenario; a list of entries a column: empty where nothing ran."""

    scenario: str
    cells: list[tuple[Column, list[Entry]]]


class Fact(NamedTuple):
    """A named JSON value, as text; ``block`` when it needs lines of its own."""

    name: str
    text: str
    block: bool


class Grid(NamedTuple):
    """Rows of like objects as a table; ``more`` were left out."""

    names: list[str]
    rows: list[list[str]]
    more: int


def render(record: RunRecord) -> str:
    """The whole page. A long text or list is cut with a note that run.json has the rest."""
    entries = [Entry(f"t{i}", t) for i, t in enumerate(summary.grouped(record.trials), start=1)]
    columns = _columns(record)
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            record=record,
            entries=entries,
            columns=columns,
            brokers=[
                (broker, sum(c.broker == broker for c in columns))
                for broker in summary.in_order(c.broker for c in columns)
            ],
            rows=_rows(entries, columns),
            crashes=crash_table.build(record),
        )
    )


def facts(values: Mapping[str, object]) -> list[Fact]:
    """A free-form object as a definition list: short values inline, the others as blocks."""
    return [_fact(name, value) for name, value in values.items()]


def grid(objects: Sequence[Mapping[str, object]]) -> Grid:
    """Free-form objects with mostly the same keys, such as the messages a fault hit."""
    shown = objects[:_ROWS_MAX]
    names = summary.in_order(str(name) for values in shown for name in values)[:8]
    rows = [[_plain(values.get(name, "")) for name in names] for values in shown]
    return Grid(names, rows, len(objects) - len(shown))


def bundle_link(bundle: str) -> str:
    """The bundle's address relative to the page; empty if it would lead out of the run."""
    parts = bundle.split("/")
    if not bundle or ".." in parts or "\\" in bundle:
        return ""
    return "./" + quote("/".join(part for part in parts if part), errors="replace") + "/"


def tone(trial: TrialRecord) -> str:
    """The colour's name: the verdict, but a canary that holds is as alarming as a break."""
    if trial.verdict is Outcome.HOLDS and not trial.passed:
        return Outcome.BROKEN.value
    return trial.verdict.value


def fate_tone(tries: Tries | None) -> str:
    """The colour of a cell of the crash table: green where no try did worse than completing once,
    red where one was lost, and amber for all between."""
    if tries is None:
        return ""
    if Fate.LOST in tries.seen:
        return Outcome.BROKEN.value
    return (Outcome.HOLDS if tries.seen == (Fate.ONCE,) else Outcome.UNKNOWN).value


def sign(trial: TrialRecord) -> str:
    """Says the verdict without colour, beside the word."""
    return {Outcome.HOLDS: "✓", Outcome.BROKEN: "✕", Outcome.UNKNOWN: "?"}[trial.verdict]


def short_name(name: str) -> str:
    """A name, on one line and no longer than names are."""
    return summary.one_line(name, _NAME_LENGTH_MAX)


def breakable(name: str) -> Markup:
    """A name with underscores, which a narrow column may break after any of them."""
    return Markup("_<wbr>").join(short_name(name).split("_"))


def landed(faults: Sequence[FaultRecord]) -> str:
    return f"{sum(fault.landed for fault in faults)} of {len(faults)}"


def _columns(record: RunRecord) -> list[Column]:
    """Brokers in the record's order, each with the profiles that it ran, in theirs."""
    ran = {Column(trial.broker, trial.profile) for trial in record.trials}
    brokers = summary.in_order(trial.broker for trial in record.trials)
    profiles = summary.in_order(trial.profile for trial in record.trials)
    return [Column(b, p) for b in brokers for p in profiles if (b, p) in ran]


def _rows(entries: Sequence[Entry], columns: Sequence[Column]) -> list[Row]:
    cells: dict[tuple[str, Column], list[Entry]] = {}
    for entry in entries:
        column = Column(entry.trial.broker, entry.trial.profile)
        cells.setdefault((entry.trial.scenario, column), []).append(entry)
    scenarios = summary.in_order(entry.trial.scenario for entry in entries)
    return [Row(s, [(c, cells.get((s, c), [])) for c in columns]) for s in scenarios]


def _fact(name: str, value: object) -> Fact:
    text = value if isinstance(value, str) else _json(value)
    block = len(text) > _LINE_LENGTH_MAX or "\n" in text
    return Fact(name, summary.shorten(text, _TEXT_LENGTH_MAX), block)


def _json(value: object, indent: str = "") -> str:
    """JSON that breaks only what does not fit a line: a list of small objects stays short."""
    flat = json.dumps(value, ensure_ascii=False, default=str)
    if len(flat) + len(indent) <= _LINE_LENGTH_MAX or not isinstance(value, dict | list | tuple):
        return flat
    inner = indent + "  "
    if isinstance(value, dict):
        names = (json.dumps(str(name), ensure_ascii=False) for name in value)
        parts = [
            f"{n}: {_json(item, inner)}" for n, item in zip(names, value.values(), strict=True)
        ]
    else:
        parts = [_json(item, inner) for item in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{right}"


def _plain(value: object) -> str:
    """Strings as they are, everything else as JSON on one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return summary.shorten(text, _TEXT_LENGTH_MAX)


def _finalize(value: object) -> object:
    """What every ``{{ … }}`` passes through, before it is escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return summary.shorten(summary.clean(value), _TEXT_LENGTH_MAX * 2)
    return value


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "facts": facts,
        "grid": grid,
        "bundle_link": bundle_link,
        "tone": tone,
        "sign": sign,
        "breakable": breakable,
        "name": short_name,
        "landed": landed,
        "fate": crash_table.told,
        "fate_tone": fate_tone,
        "fields": msgspec.structs.asdict,
        "duration": summary.duration,
        "clock": summary.clock,
        "sentence": summary.one_line,
        "number": summary.number,
        "words": summary.verdict_words,
        "reasons": summary.reasons_of,
    }
    environment.globals["headline"] = summary.headline
    environment.globals["stranded_rows_max"] = _ROWS_MAX
    return environment

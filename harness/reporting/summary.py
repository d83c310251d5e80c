"""A run in words: what every form of the report says alike, and ``summary.md``.

The first half (cleaning of foreign text, durations, verdict words, the headline, the
order of trials) is shared by the Markdown, the JUnit, the HTML and the terminal, so that
no two of them can disagree.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.model import Counts, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.record import RunRecord, TrialRecord

NONE = "\N{EN DASH}"
"""Stands for a number that nobody measured, or that has no meaning here."""

TABLE_COLUMNS = ("lost", "stranded", "duplicates", "effects twice", "recovery")
"""What every table shows of a trial, in this order."""

_ESCAPE_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, links
    r"|[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS and its like
    r"|[ -/]*[0-~])"
)
# What XML 1.0 forbids, the C1 controls, and the marks that turn the direction of writing.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_LEGEND = f"""\
*duplicates*: messages whose body started more than once; *effects twice*: messages whose \
side effect was applied more than once; *recovery*: from the first fault to the next \
completion; {NONE}: not measured, or no fault."""
_MINUTE_S = 60
_HOUR_MIN = 60
_RANK = {Outcome.BROKEN: 0, Outcome.UNKNOWN: 1, Outcome.HOLDS: 2}


def clean(text: str) -> str:
    """Without escape sequences and control characters; every line end is a line feed."""
    text = _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROL.sub("", text)


def shorten(text: str, length_max: int) -> str:
    """At most about ``length_max`` characters, and how many were left out: never silently."""
    if len(text) <= length_max:
        return text
    return f"{text[:length_max]}… ({len(text) - length_max:,} more characters in run.json)"


def one_line(text: str, length_max: int = 400) -> str:
    """Cleaned, on one line, shortened."""
    return shorten(" ".join(clean(text).split()), length_max)


def duration(seconds: float | None) -> str:
    """A time for people: ``0.42 s``, ``1.9 s``, ``61 min``, ``12 h 02 min``; NONE for None."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if round(seconds) < 2 * _MINUTE_S:
        digits = 0 if seconds == 0 or seconds >= _MINUTE_S else 2 if abs(seconds) < 1 else 1
        return f"{seconds:.{digits}f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    if minutes >= 2 * _HOUR_MIN:
        return f"{minutes // _HOUR_MIN} h {minutes % _HOUR_MIN:02d} min"
    return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"


def clock(at_s: float) -> str:
    """A wall-clock time in UTC to the second; NONE for 0 and for what is no time."""
    if not at_s:
        return NONE
    try:
        return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return NONE


def number(count: int | None) -> str:
    return NONE if count is None else str(count)


def numbers(trial: TrialRecord) -> tuple[str, ...]:
    """The values of ``TABLE_COLUMNS`` for one trial."""
    counts: Counts = trial.counts
    return (
        number(counts.lost),
        number(counts.stranded),
        number(counts.duplicate_executions),
        number(counts.duplicate_effects),
        duration(trial.timings.recovery_s),
    )


def verdict_words(trial: TrialRecord) -> str:
    """The verdict, and whether it surprises where something else than ``holds`` is expected."""
    if trial.expected is Outcome.HOLDS:
        return trial.verdict.value
    if trial.verdict is trial.expected:
        return f"{trial.verdict} (as expected)"
    return f"{trial.verdict} (expected {trial.expected})"


def name_of(trial: TrialRecord) -> str:
    """``worker_sigkill on redis, hardened``; on one line whatever the names hold."""
    names = (trial.scenario, trial.broker, trial.profile)
    scenario, broker, profile = (one_line(name, 60) for name in names)
    return f"{scenario} on {broker}, {profile}"


def surprises_first(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The trials that say something; those that hold as expected are left out.

    First what did not pass (a canary that holds too), then what broke as expected.
    """
    telling = [t for t in trials if not t.passed or t.verdict is not Outcome.HOLDS]
    return sorted(telling, key=lambda trial: (trial.passed, _RANK[trial.verdict]))


def reasons_of(trial: TrialRecord) -> Sequence[str]:
    """The reasons, or a sentence that says why there is none."""
    if trial.reasons:
        return trial.reasons
    if trial.passed:
        return ()
    if trial.verdict is Outcome.HOLDS:
        return (f"holds, but {trial.expected} was expected: the judge may be blind to it",)
    return ("no reason was recorded",)


def tries_told(trials: Iterable[TrialRecord]) -> list[str]:
    """A line for each try that came to no conclusion and was made again: whose, and why."""
    return [
        f"{name_of(trial)}: try {number} of {len(trial.tries) + 1} was unknown: "
        f"{'; '.join(earlier.reasons) or 'no reason was recorded'}"
        for trial in trials
        for number, earlier in enumerate(trial.tries, 1)
    ]


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once, in the order in which the record first has it."""
    return list(dict.fromkeys(names))


def grouped(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """By scenario, then broker, then profile, each in the record's own order."""
    known = list(trials)
    scenarios = in_order(t.scenario for t in known)
    brokers = in_order(t.broker for t in known)
    profiles = in_order(t.profile for t in known)
    return sorted(
        known,
        key=lambda t: (
            scenarios.index(t.scenario),
            brokers.index(t.broker),
            profiles.index(t.profile),
        ),
    )


def headline(record: RunRecord) -> str:
    """One sentence: trials, verdicts, and how many of the faults landed."""
    trials = record.trials
    if not trials:
        return "No trial ran to its end" + ("." if record.complete else ": interrupted.")
    tally = Counter(trial.verdict for trial in trials)
    verdicts = f"{tally[Outcome.HOLDS]} hold, {tally[Outcome.BROKEN]} broken"
    expected = sum(t.passed and t.verdict is Outcome.BROKEN for t in trials)
    if expected:
        verdicts += f" ({expected} as expected)"
    sentence = f"{len(trials)} trial{'s' * (len(trials) != 1)}: {verdicts}"
    sentence += f", {tally[Outcome.UNKNOWN]} unknown; {_landed(trials)}"
    again = sum(bool(trial.tries) for trial in trials)
    sentence += f"; {again} tried again, having been unknown." if again else "."
    return sentence if record.complete else f"Interrupted after {sentence}"


def _landed(trials: Sequence[TrialRecord]) -> str:
    """How many faults landed of those planned; the kinds that missed are named."""
    faults = [fault for trial in trials for fault in trial.faults]
    if not faults:
        return "no fault was planned"
    planned = Counter(one_line(fault.kind, 40) for fault in faults)
    landed = Counter(one_line(fault.kind, 40) for fault in faults if fault.landed)
    missed = [f"{kind} {landed[kind]} of {n}" for kind, n in planned.items() if landed[kind] < n]
    share = f"{landed.total()} of {len(faults)} faults landed"
    return f"{share} ({', '.join(missed)})" if missed else share


def render(record: RunRecord) -> str:
    """``summary.md``: made for a pull-request comment or a step summary of GitHub."""
    parts = [
        f"**{md(headline(record))}**",
        _bullets("Did not run", record.not_run),
        _telling(record),
        _bullets("Tried again", tries_told(record.trials)),
        _table(record),
        _about(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _bullets(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"### {title}\n\n" + "\n".join(f"- {md(line)}" for line in lines)


def _telling(record: RunRecord) -> str:
    lines = []
    for trial in surprises_first(record.trials):
        lines.append(f"- **{md(verdict_words(trial))}**: {md(name_of(trial))}")
        lines.extend(f"  - {md(reason)}" for reason in reasons_of(trial))
    return "### What did not hold, and why\n\n" + "\n".join(lines) if lines else ""


def _table(record: RunRecord) -> str:
    if not record.trials:
        return ""
    head = ("scenario", "broker", "profile", "verdict", *TABLE_COLUMNS)
    rule = ["---"] * 4 + ["---:"] * len(TABLE_COLUMNS)
    rows = [head, rule, *map(_row, grouped(record.trials))]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"### Trials\n\n{table}\n\n{_LEGEND}"


def _row(trial: TrialRecord) -> Sequence[str]:
    verdict = md(verdict_words(trial))
    verdict = verdict if trial.verdict is Outcome.HOLDS and trial.passed else f"**{verdict}**"
    names = (trial.scenario, trial.broker, trial.profile)
    return (*(md(name, 60) for name in names), verdict, *numbers(trial))


def _about(record: RunRecord) -> str:
    versions = ", ".join(f"{md(k, 60)} {md(v, 60)}" for k, v in sorted(record.versions.items()))
    lines = [
        f"- run {_code(record.run_id)}, seed {record.seed}, time scale {record.time_scale:g}",
        f"- started {clock(record.started_at_s)}",
        f"- took {duration(record.duration_s)}, {record.jobs} at once",
    ]
    if record.machine:
        lines.append(f"- machine: {md(record.machine)}")
    if versions:
        lines.append(f"- versions: {versions}")
    if record.command:
        lines.append(f"- again: {_code(record.command)}")
    return "### This run\n\n" + "\n".join(lines)


def md(text: str, length_max: int = 400) -> str:
    """Foreign text for the middle of a line of Markdown: shown as it is, never acted on.

    The zero-width space keeps ``@name`` and ``#12`` from notifying or linking anybody.
    """
    text = one_line(text, length_max).replace("&", "&amp;").replace("<", "&lt;")
    text = text.replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~$])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    return re.sub(r"([@#])(?=\w)", "\\1\u200b", text)


def _code(text: str, length_max: int = 1000) -> str:
    """Foreign text as a code span, fenced by more backticks than it has in a row."""
    text = one_line(text, length_max)
    fence = "`" * (1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"

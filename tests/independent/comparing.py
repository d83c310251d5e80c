"""The ledger's counts against the engine's, for one trial.

agrees        every count is the same
by a margin   every count is the same once the ledger is amended where a fault's evidence says
              that a process ended between a line of the ledger and an event of the probe
differs       anything else: a bug of the engine, or of the ledger
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from harness import counting
from harness.history import History
from harness.model import Counts, MessageId, Outcome
from harness.record import TrialRecord
from harness.telling import tell
from tests.independent import books, margins
from tests.independent.books import Line, Message

FROM_NAMES = ("lost", "stranded", "redelivery_pending")
"""Counts for which everything the broker holds must be known by name."""


@dataclass(frozen=True)
class Comparison:
    """How one trial came out."""

    differences: dict[str, str]
    """Count by count: what the engine says, and the ledger."""
    margins: list[str]
    """Why the ledger was amended; empty where that was not needed."""
    contradiction: str
    """Where the verdict itself says what the ledger denies."""
    not_compared: tuple[str, ...]
    told: str

    @property
    def agrees(self) -> bool:
        return not self.differences and not self.contradiction


def compare(
    record: TrialRecord, history: History, lines: list[Line], held: set[Message]
) -> Comparison:
    """``held`` is what the test itself found with the broker when the workers were gone."""
    over = history.last("drain_ended")
    over_s = over.mono_s if over else float("inf")
    skipped = FROM_NAMES if counting.gaps(history) else ()
    engine = _engine_sets(history)
    counted = books.count(lines, held, over_s, engine["rejected"])
    differences = _differences(record.counts, engine, counted, skipped)
    used: list[str] = []
    if differences:
        changes = margins.amendments(lines, record, history)
        amended = margins.apply(lines, changes)
        counted = books.count(amended, held, over_s, engine["rejected"])
        used = [change.why for change in changes]
        differences = _differences(record.counts, engine, counted, skipped)
    contradiction = _contradiction(record, counted)
    told = ""
    if differences or contradiction:
        told = _story(record, history, lines, held, sorted(_apart(engine, counted, skipped)))
    return Comparison(differences, used, contradiction, skipped, told)


def _differences(
    counts: Counts,
    engine: dict[str, set[Message]],
    ledger: dict[str, set[Message]],
    skipped: tuple[str, ...],
) -> dict[str, str]:
    """The numbers, and the messages that they are of: two errors must not cancel out."""
    said = msgspec.structs.asdict(counts)
    return {
        name: f"engine {said[name]} {sorted(engine[name] - messages)}, "
        f"ledger {len(messages)} {sorted(messages - engine[name])}"
        for name, messages in ledger.items()
        if name not in skipped and (said[name] != len(messages) or engine[name] != messages)
    }


def _contradiction(record: TrialRecord, ledger: dict[str, set[Message]]) -> str:
    """Each trial claims that nothing is lost, run twice or unexpected."""
    wrong = [name for name in ("lost", "duplicate_executions", "unexpected") if ledger[name]]
    if record.verdict is Outcome.HOLDS and wrong:
        return f"the verdict is holds, the ledger has {', '.join(wrong)}"
    if record.verdict is Outcome.BROKEN and not wrong:
        return "the verdict is broken, and nothing of that is in the ledger"
    return ""


def _apart(
    engine: dict[str, set[Message]], ledger: dict[str, set[Message]], skipped: tuple[str, ...]
) -> set[Message]:
    """The messages on which the two differ."""
    names = [name for name in ledger if name not in skipped]
    return {message for name in names for message in engine[name] ^ ledger[name]}


def _story(
    record: TrialRecord,
    history: History,
    lines: list[Line],
    held: set[Message],
    apart: list[Message],
) -> str:
    """Both sides, and the life of each message as each of them saw it."""
    told = [f"engine: {record.counts}", f"verdict: {record.verdict}: {'; '.join(record.reasons)}"]
    told += [f"fault: {fault}" for fault in record.faults]
    told.append(f"the test found with the broker: {sorted(held)}")
    for message in apart:
        told.append(f"  the engine's story: {tell(history, MessageId(*message))}")
        told += [
            f"  ledger: {line.mono_s - history.start_s:+.3f} s {line.what} pid {line.pid} "
            f"run {line.run[:4]} retry {line.retries} {line.more}"
            for line in lines
            if line.task_id == message[0] and line.what != "goes_on"
        ]
    return "\n".join(told)


def _engine_sets(history: History) -> dict[str, set[Message]]:
    """Which messages the engine means by its counts."""
    fates = counting.attempted(history)
    found = {
        "attempted": set(fates),
        "confirmed": {message for message, fate in fates.items() if fate == "confirmed"},
        "rejected": {message for message, fate in fates.items() if fate == "rejected"},
        "indeterminate": {m for m, fate in fates.items() if fate == "indeterminate"},
        "completed": set(counting.completed(history)) & set(fates),
        "lost": set(counting.lost(history)),
        "stranded": set(counting.stranded(history)),
        "duplicate_executions": set(counting.duplicates(history)),
        "overlapping_executions": set(counting.overlapping(history)),
        "unexpected": set(counting.unexpected(history)),
        "redelivery_pending": set(counting.redelivery_pending(history)),
    }
    return {name: {(m.task_id, m.retries) for m in them} for name, them in found.items()}

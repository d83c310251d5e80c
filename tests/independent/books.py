"""What the witness's ledger comes to: the counts of the contract, the slow and obvious way.

Shares no code with the engine, and reads nothing that its probe wrote.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

Message = tuple[str, int]
CLOSES = ("returns", "raises", "published_retry")
"""Lines after which a body has done its part."""
STILL_GOING_S = 0.1
"""A body writes every 20 ms. One whose last line is no older was still going."""


@dataclass(frozen=True)
class Line:
    """One line of a ledger."""

    what: str
    task_id: str
    retries: int
    run: str
    """One of a kind for each run of a body; empty in the producer."""
    pid: int
    mono_s: float
    more: str = ""

    @property
    def message(self) -> Message:
        return self.task_id, self.retries

    @property
    def next_try(self) -> Message:
        return self.task_id, self.retries + 1


def read(folder: Path) -> list[Line]:
    """Every whole line of every process, by the clock that they share."""
    lines = []
    for file in folder.glob("*.jsonl"):
        text = file.read_text()
        lines += [Line(**json.loads(line)) for line in text.split("\n")[:-1]]
    return sorted(lines, key=lambda line: line.mono_s)


def runs(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """The lines of each run of a body."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        if line.run:
            found.setdefault(line.run, []).append(line)
    return found


def closed(run: list[Line]) -> bool:
    return any(line.what in CLOSES for line in run)


def all_raised(lines: Iterable[Line]) -> set[Message]:
    """Messages of which every publish raised."""
    began = Counter[Message]()
    for line in lines:
        match line.what:
            case "publishes":
                began[line.message] += 1
            case "publishes_retry":
                began[line.next_try] += 1
            case "publish_raised":
                began[line.message] -= 1
            case "publish_retry_raised":
                began[line.next_try] -= 1
    return {message for message, left in began.items() if not left}


def count(
    lines: Iterable[Line],
    held_by_broker: set[Message],
    over_s: float,
    said_rejected: Iterable[Message] = (),
) -> dict[str, set[Message]]:
    """Which messages each count of the contract has. ``over_s`` is when the trial was said to be
    over: bodies that went on after that were ended by the tidying up.

    Of a publish that raised, no caller knows whether it arrived. ``said_rejected`` are those of
    which somebody says that they did not; here it is only known where that is wrong."""
    lines = list(lines)
    bodies = list(runs(lines).values())
    attempted = {line.message for line in lines if line.what == "publishes"}
    attempted |= {line.next_try for line in lines if line.what == "publishes_retry"}
    confirmed = {line.message for line in lines if line.what == "published"}
    confirmed |= {line.next_try for line in lines if line.what == "published_retry"}
    ran = [body[0].message for body in bodies]
    done = {body[0].message for body in bodies if closed(body)}
    in_hand = {
        body[0].message
        for body in bodies
        if not closed(body) and body[-1].mono_s > over_s - STILL_GOING_S
    }
    held = held_by_broker | in_hand
    rejected = set(said_rejected) & all_raised(lines) - held_by_broker - set(ran)
    return {
        "attempted": attempted,
        "confirmed": confirmed,
        "rejected": rejected,
        "indeterminate": attempted - confirmed - rejected,
        "completed": attempted & done,
        "lost": confirmed - done - held,
        "stranded": (attempted - done) & held,
        "duplicate_executions": {message for message in ran if ran.count(message) > 1},
        "overlapping_executions": {
            one[0].message
            for one in bodies
            for other in bodies
            if one is not other
            and one[0].message == other[0].message
            and one[0].mono_s <= other[0].mono_s <= one[-1].mono_s
        },
        "unexpected": set(ran) - attempted,
        "redelivery_pending": done & held_by_broker,
    }

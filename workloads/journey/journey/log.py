"""The effect: one line appended to a file, in one write, so that lines never mix."""

import json
import os
from collections.abc import Iterator
from pathlib import Path


def write(task_id: str, retries: int) -> None:
    line = json.dumps({"task_id": task_id, "retries": retries}) + "\n"
    file = os.open(os.environ["JOURNEY_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def lines() -> Iterator[str]:
    """What was written, by all processes."""
    log = Path(os.environ["JOURNEY_LOG"])
    if log.exists():
        with log.open(encoding="utf-8") as file:
            yield from file

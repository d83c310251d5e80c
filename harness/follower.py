"""Reads what the probes of a trial write, while they write it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from harness.model import Event

_decoder = msgspec.json.Decoder(Event)


class Follower:
    """Follows every file in a folder from where it last stopped.

    A line without its end is left for the next time; what is still torn when the process
    is dead was never written in full, and is no event.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_bytes: dict[str, int] = {}

    def poll(self) -> list[Event]:
        """The new events, file by file."""
        found: list[Event] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                done = self._read_bytes.get(entry.name, 0)
                if entry.name.endswith(".jsonl") and entry.stat().st_size > done:
                    found += self._read(entry.path, entry.name, done)
        return found

    def _read(self, path: str, name: str, start: int) -> list[Event]:
        with Path(path).open("rb") as file:
            file.seek(start)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_bytes[name] = start + len(whole)
        return [_decoder.decode(line) for line in whole.splitlines()]

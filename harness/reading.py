"""Reads what may come from anybody: files of a run folder, strictly and within bounds."""

from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from harness.model import UsageError

T = TypeVar("T")
SIZE_MAX_BYTES = 1 << 28
"""A history of a million events is a quarter of that."""


def content(path: Path) -> bytes:
    """All of a plain file. Raises UsageError for a link, a pipe, a device, and for one that is
    larger than any of ours."""
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode):
            raise UsageError(f"{path} is not a file")
        if about.st_size > SIZE_MAX_BYTES:
            raise UsageError(f"{path} has {about.st_size} bytes; none of ours has so many")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def decode(packed: bytes, kind: type[T]) -> T:
    """One JSON value, in which no key stands twice: which of two counts, nobody can tell. Raises
    msgspec.MsgspecError, also for one that is nested too deeply."""
    try:
        json.loads(packed, object_pairs_hook=_once)
        return msgspec.json.decode(packed, type=kind)
    except msgspec.MsgspecError:
        raise
    except RecursionError as error:
        raise msgspec.DecodeError("it is nested too deeply") from error
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from error


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise msgspec.DecodeError(f"it has the key {twice[:80]!r} twice")
    return found

"""``run.json``: the record of a run on disk, written whole and read with care.

The schema is :class:`harness.record.RunRecord`; fields that a later version adds are
ignored, another ``schema`` is refused.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

import msgspec

from harness import reading
from harness.model import UsageError
from harness.record import SCHEMA, RunRecord

if TYPE_CHECKING:
    from pathlib import Path

NAME = "run.json"


class _Head(msgspec.Struct):
    schema: str = ""


def encode(record: RunRecord) -> bytes:
    """The bytes of ``run.json``: equal records give equal bytes.

    Indented by two; fields in their declared order, keys of free-form objects sorted.
    """
    try:
        packed = _pack(record)
    except UnicodeEncodeError:
        # Half a surrogate pair, from a path or a log line that was not UTF-8: keep the rest.
        packed = _pack(_encodable(msgspec.to_builtins(record, enc_hook=str, str_keys=True)))
    return msgspec.json.format(packed, indent=2) + b"\n"


def write(record: RunRecord, folder: Path) -> Path:
    """Write ``folder/run.json`` and return its path. Raises UsageError if that can't be."""
    path = folder / NAME
    replace_file(path, encode(record))
    return path


def load(path: Path) -> RunRecord:
    """Read a run from its folder or its ``run.json``.

    Raises UsageError, in one line, for: no such run, a folder that holds none, a file cut
    short or not JSON, another schema, a record whose fields are wrong.
    """
    file = _find(path)
    packed = reading.content(file)
    try:
        head = reading.decode(packed, _Head)
        if head.schema == SCHEMA:
            return msgspec.json.decode(packed, type=RunRecord)  # it was read strictly just now
    except msgspec.ValidationError as error:
        raise UsageError(f"{_shown(file)} is not a run's record: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{_shown(file)} is torn or not JSON ({error})", "Run the command again."
        ) from error
    raise UsageError(
        f"{_shown(file)} has schema {head.schema[:80]!r}; this version reads {SCHEMA!r}",
        "Read it with the version of ackproof that wrote it.",
    )


def replace_file(path: Path, content: bytes | str) -> None:
    """Put ``content`` at ``path`` whole: a reader, or a kill, never sees half a file.

    Makes the folder where it is missing. Raises UsageError if it can't be written.
    """
    packed = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as file:
                file.write(packed)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"Cannot write {_shown(path)}: {error.strerror or error}",
            "Give a folder that can be written with --out.",
        ) from error


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.exists():
        raise UsageError(f"No such run: {_shown(path)}", _near(path))
    file = path / NAME
    if not file.is_file():
        raise UsageError(f"Not a run folder: {_shown(path)} has no {NAME}", _near(path / "_"))
    return file


def _near(path: Path) -> str:
    """A sentence that names the closest of the runs beside ``path``; empty if there is none."""
    try:
        runs = sorted(folder.parent.name for folder in path.parent.glob(f"*/{NAME}"))
    except OSError:
        return ""
    if not runs:
        return ""
    near = difflib.get_close_matches(path.name, runs, n=1, cutoff=0.6) or runs[-1:]
    return f"Did you mean {_shown(path.parent / near[0])}?"


def _shown(path: Path) -> str:
    """The path, on one line and without what could steer a terminal."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def _pack(value: object) -> bytes:
    # Evidence should hold JSON values only; a path or a date in it must not cost the report.
    return msgspec.json.encode(value, order="deterministic", enc_hook=str)


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value

"""Appends events to a file of this process; what was written survives a SIGKILL.

One ``write`` a line to a file opened for appending: the page cache belongs to the kernel,
so the death of the process loses nothing. The file is opened anew for each line, because
Celery closes descriptors it does not know (``--detach``), and a number used again would
send our line into somebody's socket. It costs some ten microseconds.
"""

from __future__ import annotations

import json
import os
import time

MARK = "missed"
"""Beside the events: ``0``, or ``1`` if one could not be written. The harness makes it."""
_folder = os.environ.get("ACKPROOF_EVENTS", "")
_role = os.environ.get("ACKPROOF_ROLE", "process")
_path = ""
_missed = 0


def _name_file() -> None:
    """A name no other process has: pids are used again, a pid at a moment is not."""
    global _path  # noqa: PLW0603 - one file a process
    _path = os.path.join(_folder, f"{_role}-{os.getpid()}-{time.monotonic_ns()}.jsonl")


_name_file()
os.register_at_fork(after_in_child=_name_file)


def record(
    kind: str,
    task_id: object = "",
    retries: int | None = 0,
    task: str | None = "",
    **data: object,
) -> None:
    """Append one event. Never raises: the app must not notice a full disk, nor a value that
    nobody can write down."""
    global _missed  # noqa: PLW0603 - one count a process
    if _missed:
        data["events_missed_before"] = _missed
    event: dict[str, object] = {
        "kind": kind,
        "at_s": time.time(),
        "mono_s": time.monotonic(),
        "pid": os.getpid(),
        "role": _role,
        "task_id": str(task_id or ""),
        "retries": retries or 0,
        "task": task or "",
    }
    try:
        _append(_encode(event, data))
        _missed = 0
    except OSError:
        _missed += 1
        _mark()


def _mark() -> None:
    """Leave word that an event is missing, where nobody may come to tell it with the next one: a
    byte of a file that has its space already is turned over."""
    try:
        descriptor = os.open(os.path.join(_folder, MARK), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, b"1", 0)
        finally:
            os.close(descriptor)
    except OSError:
        pass  # the folder is gone, and the trial with it


def _encode(event: dict[str, object], data: dict[str, object]) -> bytes:
    """One line of strict JSON in UTF-8: no NaN, no half of a surrogate pair."""
    try:
        text = _dump({**event, "data": data})
    except Exception:  # a key that is no string, NaN, a circle
        told = {n: v if n == "events_missed_before" else _repr(v) for n, v in data.items()}
        text = _dump({**event, "data": told})
    return text.encode("utf-8", "replace") + b"\n"


def _dump(event: dict[str, object]) -> str:
    return json.dumps(
        event, default=_repr, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"


def _append(line: bytes) -> None:
    descriptor = os.open(_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        written = os.write(descriptor, line)
        if written < len(line):  # the disk is full: half a line would spoil the next one
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError("no space for the whole line")
    finally:
        os.close(descriptor)

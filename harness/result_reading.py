"""Step 8, where a check needs it: what the result backend gives for each task.

The reading is done by a process in the user's own environment (``probe/ackproof_results.py``),
with the backend's settings as a worker's probe told them. They may hold passwords, so they are
in a folder that is not kept.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from msgspec import Struct

from harness import results
from harness.stage import READING, Stage

READ_S = 60.0
ANSWERS = "answers.jsonl"


class Answer(Struct, frozen=True):
    """One line of the reader's: about one task, or about all of them."""

    task_id: str = ""
    state: str = ""
    result: str | None = None
    error: str = ""
    expires_s: float | None = None
    not_read: str = ""


def read_results(stage: Stage) -> None:
    """Note each task's result, and that they were read; or why they were not."""
    folder = stage.folder / READING
    ready = stage.history().first("worker_ready")
    python = str(ready.data.get("python") or "") if ready else ""
    if not python or not (folder / "backend.json").exists():
        stage.note("results_not_read", why="no worker told what its result backend is")
        return
    ids = results.asked_for(stage.history())
    (folder / "ids.json").write_text(json.dumps(ids))
    reader = stage.start_reader(python)
    ended = stage.tick_until(lambda: reader.poll() is not None, READ_S)
    answers = _answers(folder / ANSWERS)
    for answer in answers:
        if answer.task_id:
            _note(stage, answer)
    last = answers[-1] if answers else Answer()
    if last.task_id or not answers or last.not_read:
        why = last.not_read or ("its reader failed" if ended else f"not done after {READ_S:.0f} s")
        stage.note("results_not_read", why=why)
        return
    stage.note("results_read", number=len(ids), expires_s=last.expires_s)


def _note(stage: Stage, answer: Answer) -> None:
    told = {"state": answer.state, "error": answer.error}
    if answer.result is not None:
        told["result"] = answer.result
    stage.note("result_read", task_id=answer.task_id, retries=0, mono_s=None, **told)


def _answers(path: Path) -> list[Answer]:
    try:
        lines = path.read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Answer) for line in lines]
    except (OSError, msgspec.MsgspecError):
        return []

"""The harness's side of the failpoints: arms them for the probe, and lets go who waits.

One folder a trial: ``armed.json`` says where the probes strike, ``<index>.fifo`` is where a
process waits, ``<index>.count`` how often it was reached. See ``ackproof_probe/steps.py``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

from harness.model import Trigger

PACE = -1
"""The failpoint at which the producer waits for its turn: no fault's."""
MEETING = 1000
"""Added to a fault's index: the failpoint at which the pool process waits for it too."""


class Failpoints:
    """The armed failpoints of one trial, by the index of their fault."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._armed: dict[int, dict[str, object]] = {}

    def arm(self, index: int, when: Trigger, *, holds: bool, stills: bool = False) -> None:
        """From now on, count. With ``stills``, the pool process that has the message is stopped
        while main waits, so that a kill finds it where it was."""
        self._arm(index, when, holds=holds, stills=stills)

    def meet(self, index: int, step: str, task_id: str) -> None:
        """While the fault of this index is at work: hold whoever has its message at ``step``."""
        self._arm(MEETING + index, Trigger(step), holds=True, task_id=task_id)

    def pace(self, messages: int) -> None:
        """Make the producer wait when it has published so many, until ``release(PACE)``."""
        self._arm(PACE, Trigger("published", nth=messages), holds=True, role="producer")

    def _arm(
        self,
        index: int,
        when: Trigger,
        *,
        holds: bool,
        stills: bool = False,
        role: str = "",
        task_id: str = "",
    ) -> None:
        if holds and not self._fifo(index).exists():
            os.mkfifo(self._fifo(index))
        self._armed.pop(index, None)  # the last to be armed is the last to strike
        self._armed[index] = {
            "index": index,
            "step": when.step,
            "nth": when.nth,
            "task": when.task,
            "role": role,
            "task_id": task_id,
            "holds": holds,
            "stills": stills,
        }
        self._write()

    def disarm(self, index: int) -> None:
        """It has struck. Who waits at it goes on waiting."""
        if self._armed.pop(index, None) is not None:
            self._write()

    def release(self, index: int, error: str = "") -> None:
        """Let whoever waits go on, or raise ``error`` (``module:Class``)."""
        try:
            fifo = os.open(self._fifo(index), os.O_WRONLY | os.O_NONBLOCK)
        except OSError as failure:
            if failure.errno in {errno.ENXIO, errno.ENOENT}:
                return  # nobody waits (any more), or nobody ever did
            raise
        try:
            os.write(fifo, f"raise {error}".encode() if error else b"go")
        except BrokenPipeError:
            pass  # it was let go before, and has just gone
        finally:
            os.close(fifo)

    def close(self) -> None:
        """Leave nothing of them in the trial's folder; its processes have ended. Idempotent."""
        self._armed.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _fifo(self, index: int) -> Path:
        return self.folder / f"{index}.fifo"

    def _write(self) -> None:
        # In one go: a probe reads it at any moment.
        fresh = self.folder / "armed.fresh"
        fresh.write_text(json.dumps(list(self._armed.values())))
        fresh.replace(self.folder / "armed.json")

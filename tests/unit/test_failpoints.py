"""The harness's side of a failpoint: letting go whoever waits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.failpoints import Failpoints
from harness.model import Trigger


def test_who_is_let_go_twice_may_be_gone_by_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen process has its answer waiting; it goes on, and closes its end, just as it is
    told once more. Nobody waits any more: that is no error, and does not end the trial."""
    points = Failpoints(tmp_path / "steps")
    points.arm(0, Trigger("started"), holds=True)
    waits = os.open(tmp_path / "steps" / "0.fifo", os.O_RDONLY | os.O_NONBLOCK)
    points.release(0)
    write = os.write

    def goes_on_first(fifo: int, text: bytes) -> int:
        assert os.read(waits, 1024) == b"go"
        os.close(waits)
        return write(fifo, text)

    monkeypatch.setattr(os, "write", goes_on_first)
    points.release(0)

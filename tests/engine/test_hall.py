"""What a run leaves in its folder when it was killed, and who clears it away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness.hall import LOCK, SERVERS, TEMP, Hall, sweep
from harness.runtimes import dying
from harness.waiting import wait_until
from tests.patience import PATIENCE_S


def test_the_next_run_clears_away_what_a_killed_one_left(tmp_path: Path) -> None:
    """Its servers' data and its temporary files; not those of a run that goes on, nor a report."""
    killed, going_on = tmp_path / "killed", tmp_path / "going-on"
    for run in (killed, going_on):
        (run / TEMP).mkdir(parents=True)
        (run / "run.json").write_text("{}")
    (killed / SERVERS / "redis-0").mkdir(parents=True)
    (killed / SERVERS / LOCK).touch()
    hall = Hall(going_on / SERVERS)
    try:
        assert not (going_on / SERVERS).exists()  # nobody needs anything yet
        hall.nursery()
        sweep(tmp_path)
        assert sorted(path.name for path in killed.iterdir()) == ["run.json"]
        assert sorted(path.name for path in going_on.iterdir()) == ["run.json", SERVERS, TEMP]
    finally:
        hall.close()
    sweep(tmp_path)  # its own end has cleared it away
    assert not (going_on / SERVERS).exists()


PARENT = """
import subprocess, sys, os
words = ["-I", "-S", sys.argv[1], str(os.getpid()), "-c", sys.argv[2]]
child = subprocess.Popen([sys.executable, *words])
print(child.pid, flush=True)
child.wait()
"""
SLEEPS = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal")
def test_a_process_ends_with_its_parent_from_its_first_moment() -> None:
    """Before it has imported anything: as pytest-xdist's workers are started."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, dying.__file__, SLEEPS], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    def gone() -> bool | None:
        try:
            return psutil.Process(child).status() == psutil.STATUS_ZOMBIE or None
        except psutil.NoSuchProcess:
            return True

    wait_until(gone, PATIENCE_S, "the child to end")

"""What the probe costs a worker: the same tasks with it and without it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import compare

from harness import brokers
from harness.runtimes.local import LocalRuntime
from harness.waiting import wait_until
from harness.workload import PROBE

PAIRS = 5
TASKS = 2000
APP = """
import os, time
from celery import Celery
app = Celery("empty")
app.conf.worker_prefetch_multiplier = 20

@app.task
def empty(number, last):
    if number == last:
        open(os.environ["DONE"], "w").write(repr(time.monotonic()))
"""
PUBLISH = """
import empty, sys
for number in range({tasks}):
    empty.empty.delay(number, {tasks} - 1)
"""


def run(url: str, folder: Path, *, probe: bool) -> float:
    """Seconds from the worker being ready to the end of its last task."""
    here = Path(tempfile.mkdtemp(dir=folder))
    done = here / "done"
    env = {**os.environ, "CELERY_BROKER_URL": url, "DONE": str(done), "PYTHONPATH": str(folder)}
    env["TMPDIR"] = str(here)  # what a killed worker cannot delete goes with the folder
    subprocess.run([sys.executable, "-c", PUBLISH.format(tasks=TASKS)], env=env, check=True)
    if probe:
        env["PYTHONPATH"] = f"{PROBE}{os.pathsep}{folder}"
        env |= {"ACKPROOF_EVENTS": str(here), "ACKPROOF_ROLE": "worker"}
    command = [str(Path(sys.executable).parent / "celery"), "-A", "empty", "worker", "-c", "1"]
    log = here / "log"
    process = LocalRuntime().start(
        "worker", [*command, "--loglevel", "INFO"], env=env, cwd=folder, log=log
    )
    try:
        wait_until(lambda: "ready." in log.read_text() or None, 60.0, "the worker is ready")
        began_s = time.monotonic()
        ended = wait_until(lambda: (done.exists() and done.read_text()) or None, 120.0, "the end")
        return float(ended) - began_s
    finally:
        process.stop()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty.py").write_text(APP)
        broker = brokers.load("redis")
        endpoint = broker.start(LocalRuntime(), folder / "redis")
        url = broker.lease(endpoint, 0).url(endpoint.host, endpoint.port)
        compare(
            "without the probe",
            "with the probe",
            PAIRS,
            lambda: run(url, folder, probe=False),
            lambda: run(url, folder, probe=True),
        )


if __name__ == "__main__":
    main()

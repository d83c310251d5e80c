"""How much a warm start saves: from the start of a worker to its first completed task."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from side_by_side import compare, timed

from harness import brokers, workload
from harness.follower import Follower
from harness.model import MARKER_TASK
from harness.runtimes.local import LocalRuntime, start_nursery
from harness.waiting import wait_until

PAIRS = 7
COMMAND = "celery -A ledger worker --concurrency 2"


def boot(runtime: LocalRuntime, url: str, app: workload.Workload, folder: Path) -> float:
    events = Path(tempfile.mkdtemp(dir=folder))
    env = app.environment({"trial_dir": str(events)}) | {
        "CELERY_BROKER_URL": url,
        "ACKPROOF_EVENTS": str(events),
        "ACKPROOF_ROLE": "worker",
        "ACKPROOF_MARKER": "1",
        "TMPDIR": str(events),  # what a killed worker cannot delete goes with the folder
    }
    follower = Follower(events)

    def until_first_task() -> None:
        process = runtime.start(
            "worker", app.command(COMMAND, {}), env=env, cwd=app.folder, log=events / "log"
        )

        def done() -> bool | None:
            found = follower.poll()
            return any(e.kind == "finished" and e.task == MARKER_TASK for e in found) or None

        try:
            wait_until(done, 60.0, "the worker completes its first task")
        finally:
            process.stop()

    return timed(until_first_task)


def main() -> None:
    app = workload.load("workloads/ledger", Path(__file__).resolve().parent.parent)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = brokers.load("redis")
        cold = LocalRuntime()
        endpoint = broker.start(cold, folder / "redis")
        lease = broker.lease(endpoint, 0)
        process, address = start_nursery(folder)
        warm = LocalRuntime(address)
        url = lease.url(endpoint.host, endpoint.port)
        by: Callable[[LocalRuntime], Callable[[], float]]
        by = lambda runtime: lambda: boot(runtime, url, app, folder)  # noqa: E731
        compare("warm", "cold", PAIRS, by(warm), by(cold))
        process.stop()


if __name__ == "__main__":
    sys.exit(main() if os.environ.get("ACKPROOF_COLD") is None else "unset ACKPROOF_COLD first")

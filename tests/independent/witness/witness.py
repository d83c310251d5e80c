"""A Celery app that keeps its own ledger, and imports nothing of Ackproof.

Each process appends to a file of its own, one write(2) a line: what it does, for which message,
in which run of the body, and when (CLOCK_MONOTONIC). A body writes when it starts, while it goes
on, when it applied its effect and just before it ends; the producer, before and after each
publish.

python -m witness --tasks 6 --duration 0.2 --ways plain,retries,fails,dies_once --gap 0.05
"""

import argparse
import json
import os
import secrets
import signal
import time
import uuid

from celery import Celery, Task
from celery.exceptions import Retry

STEP_S = 0.02
FOLDER = os.environ["WITNESS_LEDGER"]

app = Celery("witness")


def write(what: str, task_id: str, retries: int = 0, run: str = "", more: str = "") -> None:
    """Append one line to this process's own file."""
    line = {
        "what": what,
        "task_id": task_id,
        "retries": retries,
        "run": run,
        "pid": os.getpid(),
        "mono_s": time.monotonic(),
        "more": more,
    }
    os.makedirs(FOLDER, exist_ok=True)  # noqa: PTH103 - as few steps as there can be
    path = os.path.join(FOLDER, f"{os.getpid()}.jsonl")  # noqa: PTH118
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


class Run:
    """One run of a body."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._who = (task.request.id, task.request.retries, secrets.token_hex(8))
        redelivered = (task.request.delivery_info or {}).get("redelivered")
        self.note("start", more=f"redelivered={redelivered}")

    def note(self, what: str, more: str = "") -> None:
        write(what, *self._who, more)

    def works(self, for_s: float) -> None:
        """Say every moment that it still goes on."""
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            time.sleep(STEP_S)
            self.note("goes_on")

    def asks_again(self) -> None:
        """Have Celery publish the message's next try."""
        self.note("publishes_retry")
        try:
            self._task.retry(countdown=0)  # raises Retry
        except Retry:
            self.note("published_retry")
            raise
        except Exception as error:
            self.note("publish_retry_raised", repr(error))
            raise


def first_time(task_id: str) -> bool:
    """Whether nobody has asked that for this task."""
    try:
        os.close(os.open(os.path.join(FOLDER, f"{task_id}.died"), os.O_CREAT | os.O_EXCL))  # noqa: PTH118
    except FileExistsError:
        return False
    return True


@app.task(bind=True, name="witness.work", max_retries=1)
def work(self: Task, way: str, duration_s: float) -> str:
    """Work, apply the effect (a line), work; then end in its way: return, fail, ask for
    another try, once, or be killed, once, as by a kernel that is short of memory."""
    run = Run(self)
    try:
        run.works(duration_s / 2)
        run.note("effect")
        run.works(duration_s / 2)
        ends(self, run, way)
    except Retry:
        raise
    except SystemExit:
        run.note("told_to_exit")
        raise
    except Exception as error:  # its own, or what a signal handler raised in the middle of it
        run.note("raises", repr(error))
        raise
    run.note("returns")
    return way


def ends(task: Task, run: Run, way: str) -> None:
    if way == "dies_once" and first_time(task.request.id):
        run.note("dies")
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "retries" and task.request.retries == 0:
        run.asks_again()
    if way == "fails":
        raise ValueError(way)


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish work.")
    parser.add_argument("--tasks", type=int, default=6)
    parser.add_argument("--duration", type=float, default=0.2)
    parser.add_argument("--ways", default="plain")
    parser.add_argument("--gap", type=float, default=0.0)
    options = parser.parse_args()
    ways = options.ways.split(",")
    for number in range(options.tasks):
        task_id = str(uuid.uuid4())
        write("publishes", task_id)
        try:
            work.apply_async((ways[number % len(ways)], options.duration), task_id=task_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is written down
            write("publish_raised", task_id, more=repr(error))
        else:
            write("published", task_id)
        time.sleep(options.gap)


if __name__ == "__main__":
    main()

"""Tasks that misbehave, each in one way, and one that does not."""

import os
import signal
import time
from pathlib import Path

from celery import Celery
from celery.exceptions import Reject
from kombu.entity import Queue

DELIVERY_LIMIT = 3

app = Celery("misfits")
if os.environ.get("MISFITS_QUEUE_TYPE") == "quorum":
    limited = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
    app.conf.task_queues = [Queue("celery", queue_arguments=limited)]


@app.task
def behave(duration_s: float) -> None:
    """Take the time, and end."""
    time.sleep(duration_s)


@app.task
def eat_memory(duration_s: float) -> None:
    """Have this process killed, as the kernel does when a task eats all memory: so many times
    (``MISFITS_MEALS``), then there is enough of it."""
    time.sleep(duration_s)
    meals = Path(os.environ["MISFITS_CACHE"])
    eaten = meals.read_text() if meals.exists() else ""
    if len(eaten) < int(os.environ["MISFITS_MEALS"]):
        meals.write_text(eaten + ".")
        os.kill(os.getpid(), signal.SIGKILL)


@app.task
def fill_cache(duration_s: float) -> None:
    """Hang, but for the time after: what it waits for is there then."""
    cache = Path(os.environ["MISFITS_CACHE"])
    if not cache.exists():
        cache.touch()
        time.sleep(3600)
    time.sleep(duration_s)


@app.task
def refuse(duration_s: float) -> None:
    """Reject the message for good: it can never be processed."""
    time.sleep(duration_s)
    raise Reject("malformed", requeue=False)

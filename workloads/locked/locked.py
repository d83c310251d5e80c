"""A worker that is inside kombu's restore pass, for good, while its tasks run.

The first worker of a trial takes kombu's own lock with kombu's own code and does not let go of
it, as one does that is killed there. Its replacement finds the lock taken.
"""

import os
import sys
import time
from pathlib import Path

from celery import Celery
from celery.signals import worker_ready
from kombu.transport.redis import Mutex

app = Celery("locked")


@app.task(name="locked.work")
def work(duration_s: float) -> None:
    mark()
    time.sleep(duration_s)


def mark() -> None:
    """The effect: a moment to aim at."""


@worker_ready.connect
def enter_the_pass(sender: object, **_: object) -> None:
    once = Path(os.environ["TRIAL_DIR"], "locked")
    if not once.exists():
        once.touch()
        channel = sender.task_consumer.channel  # type: ignore[attr-defined]
        with channel.conn_or_acquire() as client:
            lock = Mutex(client, channel.unacked_mutex_key, channel.unacked_mutex_expire)
            lock.__enter__()
            app.lock = lock  # kept: it would let go when it is collected


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        app.send_task("locked.work", (float(sys.argv[2]),))

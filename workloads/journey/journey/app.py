"""The app: a task that does its work, and one that asks to be tried again the first time."""

import time

from celery import Celery, Task

from journey import log

app = Celery("journey")


@app.task(bind=True)
def go(self: Task, duration_s: float) -> None:
    """Work for half the time, write the line, work for the rest."""
    time.sleep(duration_s / 2)
    log.write(self.request.id, self.request.retries)
    time.sleep(duration_s / 2)


@app.task(bind=True)
def go_again(self: Task, duration_s: float) -> None:
    """The same, but only at the second try."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    log.write(self.request.id, self.request.retries)
    time.sleep(duration_s)

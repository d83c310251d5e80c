"""The app: one task reminds somebody of something, later; one tells everybody at once."""

import time

from celery import Celery

app = Celery("reminders")


@app.task
def remind(whom: int, duration_s: float) -> int:
    """Take as long as the mail server does."""
    time.sleep(duration_s)
    return whom


@app.task
def announce(duration_s: float) -> None:
    """Take as long as the mail server does."""
    time.sleep(duration_s)

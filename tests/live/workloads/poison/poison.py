"""Tasks that never come to an end: one kills its own process, one retries for ever."""

import os
import signal
import sys

from celery import Celery, Task

app = Celery("poison")


@app.task(name="poison.work")
def work(deadly: bool) -> None:  # noqa: FBT001 - arguments of tasks are plain
    if deadly:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="poison.again", bind=True, max_retries=None)
def again(self: Task) -> None:
    raise self.retry(countdown=0.1)


if __name__ == "__main__":
    what, tasks = sys.argv[1], int(sys.argv[2])
    app.set_current()
    for number in range(tasks):
        if what == "retries":
            app.send_task("poison.again")
        else:
            app.send_task("poison.work", (number == 0,))

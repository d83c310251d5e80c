"""The app: pages are fetched, what was fetched is indexed."""

import time
from collections.abc import Sequence

from celery import Celery, Task

app = Celery("pipelines")


@app.task
def fetch(page: int, duration_s: float) -> int:
    """Fetch one page; gives how much there was."""
    time.sleep(duration_s)
    return page


@app.task
def index(fetched: int | Sequence[int]) -> int:
    """Index one page, or what all fetches of a chord gave."""
    return fetched if isinstance(fetched, int) else sum(fetched)


@app.task(bind=True)
def redirect(self: Task, page: int, duration_s: float) -> None:
    """The page has moved: another task takes the place of this one."""
    self.replace(fetch.s(page, duration_s))

"""The app, as anyone would write it: nothing here knows that it is being tested."""

import time

from celery import Celery, Task

from ledger import store

app = Celery("ledger")


def _charge(task: Task, order: int, duration_s: float, *, idempotent: bool) -> int:
    """Work for half the time, charge the order, work for the rest."""
    time.sleep(duration_s / 2)
    store.charge(
        order, task_id=task.request.id, retries=task.request.retries, idempotent=idempotent
    )
    time.sleep(duration_s / 2)
    return order


@app.task(bind=True)
def charge(self: Task, order: int, duration_s: float) -> int:
    """Charge an order; run twice, it charges twice."""
    return _charge(self, order, duration_s, idempotent=False)


@app.task(bind=True)
def charge_once(self: Task, order: int, duration_s: float) -> int:
    """Charge an order; run twice, it charges once."""
    return _charge(self, order, duration_s, idempotent=True)

"""The baseline's marker: a task of ours that a worker must complete before a trial begins.

It goes to a queue that only this worker consumes, and only until the marker has come: two
workers do not take each other's, and none is ever put where a worker of the app's would look.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ackproof_probe.record import record

if TYPE_CHECKING:
    from celery import Celery
    from celery.worker.consumer import Consumer
    from kombu.entity import Queue

TASK = "ackproof.marker"
QUEUE = "ackproof-marker-"
"""What the names of these queues begin with; inspections leave them out."""

_waiting: tuple[Consumer, Queue] | None = None


def add(app: Celery) -> None:
    """Give the app the marker task."""
    from celery import Task

    @app.task(name=TASK, base=Task, shared=False, lazy=False, ignore_result=True)
    def marker() -> None:
        """Do nothing: that it ran is the point."""


def send(worker: Consumer) -> None:
    """Publish a marker that this worker alone is given. Its caller is the worker's own loop."""
    global _waiting  # noqa: PLW0603 - one marker a process
    try:
        queue = _own_queue(worker)
        if queue is not None:
            worker.task_consumer.add_queue(queue)
            worker.task_consumer.consume()
            _waiting = worker, queue
        # On a connection of its own, so that the worker's pool of connections stays as it was.
        with worker.app.connection_for_write() as connection:
            worker.app.send_task(TASK, connection=connection, queue=queue or _first_queue(worker))
    except Exception as error:
        record("marker_failed", error=repr(error))


def is_settled() -> None:
    """The marker was acknowledged: its queue is consumed no more, as soon as the loop can."""
    global _waiting
    if _waiting is not None:
        (worker, queue), _waiting = _waiting, None
        worker.call_soon(worker.task_consumer.cancel_by_queue, queue)


def _own_queue(worker: Consumer) -> Queue | None:
    """None where the app has named all queues there are (SQS, ``predefined_queues``), and kombu
    refuses any other: there the marker goes to the app's first queue."""
    from kombu.entity import Exchange, Queue

    if getattr(worker.task_consumer.channel, "predefined_queues", None):
        return None
    name = QUEUE + os.environ.get("ACKPROOF_ROLE", "")
    return Queue(name, Exchange(""), routing_key=name, auto_delete=True)


def _first_queue(worker: Consumer) -> str:
    return str(next(iter(worker.app.amqp.queues.consume_from)))

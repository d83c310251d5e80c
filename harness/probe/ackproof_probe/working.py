"""Records a message's way through a worker, and the worker's own life."""

from __future__ import annotations

import os
import sys
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ackproof_probe import digests, marking, missing, settings, steps
from ackproof_probe.record import record

if TYPE_CHECKING:
    from celery import Task
    from celery.worker.consumer import Consumer
    from celery.worker.request import Context, Request
    from celery.worker.worker import WorkController
    from kombu.message import Message


def connect(signals: ModuleType) -> None:
    """Hook on ``celery.signals``; receivers are strong, and set before any worker starts."""
    for signal, receiver in (
        (signals.celeryd_init, _worker_configured),
        (signals.worker_ready, _worker_ready),
        (signals.worker_shutting_down, _worker_shutting_down),
        (signals.task_received, _received),
        (signals.task_prerun, _started),
        (signals.task_postrun, _finished),
        (signals.task_retry, _retried),
        (signals.task_failure, _failed),
    ):
        signal.connect(receiver, weak=False)
    if os.environ.get("ACKPROOF_MARKER"):
        from celery._state import connect_on_app_finalize

        connect_on_app_finalize(marking.add)


def _worker_configured(conf: dict[str, Any], **_: object) -> None:
    # Apps that change their settings after first reading them would undo the trial's.
    settings.apply(conf)


def _worker_ready(sender: Consumer, **_: object) -> None:
    import celery
    import kombu

    app = sender.app
    record(
        "worker_ready",
        hostname=sender.hostname,
        pool=type(sender.pool).__module__,
        concurrency=getattr(sender.pool, "limit", None),
        versions={"celery": celery.__version__, "kombu": kombu.__version__},
        queues=list(app.amqp.queues.consume_from),
        settings=settings.live(sender),
        tasks=settings.tasks(app),
        steps_missing=missing.steps,
        python=sys.executable,
    )
    settings.tell_reader(app)
    if os.environ.get("ACKPROOF_MARKER"):
        marking.send(sender)


def _worker_shutting_down(
    sig: object = None, how: object = None, exitcode: object = None, **_: object
) -> None:
    record("worker_shutting_down", signal=str(sig), how=str(how), exitcode=exitcode)


def _received(request: Request, **_: object) -> None:
    message = request.message
    info = dict(message.delivery_info or {})
    # SQS puts the whole message in here: keep what names it, leave the body out.
    if isinstance(info.get("sqs_message"), dict):
        info["sqs_message"] = {
            k: info["sqs_message"].get(k) for k in ("MessageId", "ReceiptHandle")
        }
    record(
        "received",
        request.id,
        request.request_dict.get("retries"),
        request.type,
        delivery_tag=message.delivery_tag,
        delivery_info=info,
        redelivered=bool(info.get("redelivered") or (message.headers or {}).get("redelivered")),
        eta=request.eta,
    )


def _started(task_id: str, task: Task, args: Any = (), **_: object) -> None:
    request = task.request
    # The body of a chord is given the results of its headers as one list.
    given = args[0] if isinstance(args, list | tuple) and args else None
    record(
        "started",
        task_id,
        request.retries,
        task.name,
        hostname=request.hostname,
        redelivered=bool((request.delivery_info or {}).get("redelivered")),
        **(digests.of_list(given) if isinstance(given, list | tuple) else {}),
    )


def _finished(task_id: str, task: Task, state: object = None, **_: object) -> None:
    record("finished", task_id, task.request.retries, task.name, state=str(state))


def _retried(sender: Task, request: Context, reason: object = None, **_: object) -> None:
    record("retried", request.id, request.retries, sender.name, reason=repr(reason))


def _failed(
    sender: Task, task_id: str, exception: BaseException | None = None, **_: object
) -> None:
    # In the main process this is how a lost child shows; in the child, a body that raised.
    record(
        "failed",
        task_id,
        getattr(sender.request, "retries", 0),
        sender.name,
        exception=type(exception).__name__,
        text=str(exception)[:500],
    )


def watch_acknowledgements(module: ModuleType) -> None:
    """Hook on ``kombu.message``: every transport's message is acked through this class."""
    for method, kind in (("ack", "acked"), ("reject", "rejected"), ("requeue", "rejected")):
        _watch_settling(module.Message, method, kind)


def _watch_settling(cls: type[Message], method: str, kind: str) -> None:
    settle = getattr(cls, method)

    @wraps(settle)
    def watched(self: Message, *args: object, **kwargs: object) -> object:
        headers = self.headers or {}
        if not headers.get("id"):
            return settle(self, *args, **kwargs)  # remote control and events, not a task
        who: dict[str, Any] = {
            "task_id": headers["id"],
            "retries": headers.get("retries"),
            "task": headers.get("task"),
        }
        if kind == "rejected":
            who["requeue"] = method == "requeue" or bool(kwargs.get("requeue", args and args[0]))
        if kind == "acked":
            steps.acknowledging(self, "ack_begins")
        try:
            result = settle(self, *args, **kwargs)
        except BaseException as error:
            record(f"{kind}_error", error=repr(error), **who)
            raise
        record(kind, delivery_tag=self.delivery_tag, **who)
        if headers.get("task") == marking.TASK:
            marking.is_settled()
        if kind == "acked":
            steps.acknowledging(self, "acked")
        return result

    setattr(cls, method, watched)


def watch_giving_back(sqs: ModuleType) -> None:
    """Hook on ``kombu.transport.SQS``: what a worker puts back, requeued or at its shutdown, is out
    again after ``wait_time_seconds``, and not after its visibility timeout (``Channel._put``)."""
    put_real = sqs.Channel._put  # noqa: SLF001 - there is no public one

    @wraps(put_real)
    def put(self: Any, queue: str, message: Any, **kwargs: Any) -> object:
        result = put_real(self, queue, message, **kwargs)
        headers = message.get("headers") or {}
        if message.get("redelivered") and headers.get("id"):
            record(
                "given_back",
                headers["id"],
                headers.get("retries"),
                headers.get("task"),
                back_in_s=self.wait_time_seconds,
            )
        return result

    sqs.Channel._put = put  # noqa: SLF001


def watch_connection(module: ModuleType) -> None:
    """Hook on ``celery.worker.consumer.consumer``: the worker's link to its broker."""
    connect_real = module.Consumer.connect
    lost_real = module.Consumer.on_connection_error_after_connected

    @wraps(connect_real)
    def connect_watched(self: Consumer) -> object:
        connection = connect_real(self)
        record("connected", transport=connection.transport.driver_name)
        return connection

    @wraps(lost_real)
    def lost_watched(self: Consumer, exc: BaseException) -> object:
        record("connection_lost", error=repr(exc))
        return lost_real(self, exc)

    module.Consumer.connect = connect_watched
    module.Consumer.on_connection_error_after_connected = lost_watched


def watch_stopping(worker: ModuleType) -> None:
    """Hook on ``celery.worker.worker``: a worker begins to end, for whatever reason. What it holds
    it gives back only when its connection closes, which may be a second later."""
    for method in ("stop", "terminate"):
        _watch_stopping(worker.WorkController, method)


def _watch_stopping(cls: type[WorkController], method: str) -> None:
    end = getattr(cls, method)

    @wraps(end)
    def watched(self: WorkController, *args: object, **kwargs: object) -> object:
        record("worker_stopping", how=method)
        return end(self, *args, **kwargs)

    setattr(cls, method, watched)

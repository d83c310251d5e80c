"""Records each publish of a task message: invoke, then ok, fail or info (nobody can know)."""

from __future__ import annotations

from functools import wraps
from types import ModuleType
from typing import Any

from ackproof_probe import canvas, steps
from ackproof_probe.record import record


def _identify(message: tuple[Any, ...]) -> dict[str, Any]:
    """Task id and retry number of a ``task_message`` tuple, in either protocol."""
    headers, _, body, _ = message
    source = headers if headers.get("id") else body
    return {"task_id": source.get("id"), "retries": source.get("retries") or 0}


def _surely_not_sent(error: BaseException) -> bool:
    """Whether the failure happened before any byte could leave."""
    from kombu.exceptions import SerializationError

    return isinstance(error, SerializationError)


def watch(amqp: ModuleType) -> None:
    """Hook on ``celery.app.amqp``: every task message goes through ``send_task_message``."""
    create = amqp.AMQP._create_task_sender  # noqa: SLF001 - there is no public one

    def _create_task_sender(self: object) -> object:
        send = create(self)

        @wraps(send)
        def send_task_message(
            producer: object, name: str, message: tuple[Any, ...], *args: object, **kwargs: object
        ) -> object:
            who = {**_identify(message), "task": name}
            steps.reach("publishing", **who)  # who dies here has attempted nothing
            record("publish_invoke", **who, **canvas.of(message))
            try:
                result = send(producer, name, message, *args, **kwargs)
            except BaseException as error:
                kind = "publish_fail" if _surely_not_sent(error) else "publish_info"
                record(kind, error=repr(error), **who)
                raise
            record("publish_ok", **who)
            steps.reach("published", **who)
            return result

        return send_task_message

    amqp.AMQP._create_task_sender = _create_task_sender  # noqa: SLF001

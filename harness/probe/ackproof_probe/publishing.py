"""Records each publish of a task message: invoke, then ok, fail or info (nobody can know)."""

from functools import wraps

from ackproof_probe.record import record


def _identify(message):
    """Task id and retry number of a ``task_message`` tuple, in either protocol."""
    headers, _, body, _ = message
    source = headers if headers.get("id") else body
    return {"task_id": source.get("id"), "retries": source.get("retries") or 0}


def _surely_not_sent(error):
    """Whether the failure happened before any byte could leave."""
    from kombu.exceptions import SerializationError

    return isinstance(error, SerializationError)


def watch(amqp):
    """Hook on ``celery.app.amqp``: every task message goes through ``send_task_message``."""
    create = amqp.AMQP._create_task_sender

    def _create_task_sender(self):
        send = create(self)

        @wraps(send)
        def send_task_message(producer, name, message, *args, **kwargs):
            who = {**_identify(message), "task": name}
            record("publish_invoke", **who)
            try:
                result = send(producer, name, message, *args, **kwargs)
            except BaseException as error:
                kind = "publish_fail" if _surely_not_sent(error) else "publish_info"
                record(kind, error=repr(error), **who)
                raise
            record("publish_ok", **who)
            return result

        return send_task_message

    amqp.AMQP._create_task_sender = _create_task_sender

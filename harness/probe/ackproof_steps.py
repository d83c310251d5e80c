"""The steps of a message's life, and the function of Celery or kombu that each stands at.

The one catalogue: the probe sets its failpoints by it, the engine lists and checks it. Run as
a script by any interpreter, it prints its steps and whether that interpreter's Celery and
kombu have the functions, as JSON: ``python ackproof_steps.py``. Standard library only.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

BEFORE, AFTER = "before", "after"


class Step(NamedTuple):
    """A place where everything can be made to die."""

    name: str
    process: str
    """``producer``, ``main`` (the consumer) or ``child`` (where the body runs: in the pools
    threads, gevent and solo that is main itself)."""
    where: str
    """``module:qualified.name``; empty: the function that a workload's ``effect`` names."""
    moment: str
    """Whether the process stands before that function or has just come out of it."""
    what: str
    brokers: tuple[str, ...] = ()
    """The brokers whose transport has it; empty: all."""
    pools: tuple[str, ...] = ()
    """The pools that have it so; empty: all."""


IN_MAIN = ("threads", "gevent", "eventlet", "solo")
"""The pools that run the body in the main process."""
_PARALLEL = ("prefork", "threads", "gevent", "eventlet")
_FORKED = ("prefork",)
_SOLO = ("solo",)

_NOTED = "kombu.transport.redis:QoS.append"
_NOTED_SQS = "kombu.transport.SQS:QoS.append"
_ACK = "kombu.message:Message.ack"
_DONE = "celery.backends.base:Backend.mark_as_done"
_ACCEPTED = "celery.worker.request:Request.on_accepted"
_PROCESS = "celery.worker.worker:WorkController._process_task"
_RECEIVED = "celery.signals:task_received.send"
_SENDER = "celery.app.amqp:AMQP._create_task_sender"

STEPS = (
    Step("publishing", "producer", _SENDER, BEFORE, "not attempted yet, nothing sent"),
    Step("published", "producer", _SENDER, AFTER, "the broker has taken the message, or seems to"),
    Step("taken", "main", _NOTED, BEFORE, "popped from its list, noted nowhere yet", ("redis",)),
    Step("taken", "main", _NOTED_SQS, BEFORE, "handed out; visibility clock runs", ("sqs",)),
    Step("noted", "main", _NOTED, AFTER, "in the hash `unacked`", ("redis",)),
    Step("noted", "main", _NOTED_SQS, AFTER, "in the worker's memory", ("sqs",)),
    Step("received", "main", _RECEIVED, AFTER, "decoded; receivers of task_received have run"),
    Step("reserved", "main", _PROCESS, BEFORE, "about to be given to the pool"),
    Step(
        "sent",
        "main",
        _PROCESS,
        AFTER,
        "with the pool (prefork: in its outbound buffer)",
        (),
        _PARALLEL,
    ),
    Step("accepted", "main", _ACCEPTED, BEFORE, "main hears that the pool has begun", (), _FORKED),
    Step(
        "accepted",
        "main",
        _ACCEPTED,
        BEFORE,
        "the pool begins: the body comes next, right here",
        (),
        IN_MAIN,
    ),
    Step(
        "early_ack_begins",
        "main",
        _ACK,
        BEFORE,
        "acks early: nothing sent to the broker yet",
        (),
        _PARALLEL,
    ),
    Step(
        "early_ack_begins",
        "main",
        _ACK,
        BEFORE,
        "acks early, yet the body has ended; nothing sent yet",
        (),
        _SOLO,
    ),
    Step("early_acked", "main", _ACK, AFTER, "acks early: the broker was told", (), _PARALLEL),
    Step(
        "early_acked",
        "main",
        _ACK,
        AFTER,
        "acks early, yet the body has ended; the broker was told",
        (),
        _SOLO,
    ),
    Step(
        "started",
        "child",
        "celery.app.trace:send_prerun",
        AFTER,
        "receivers of task_prerun have run, the body not",
    ),
    Step("effect_begin", "child", "", BEFORE, "in the body, the effect not applied"),
    Step("effect", "child", "", AFTER, "in the body, the effect applied"),
    Step("callbacks_published", "child", _DONE, BEFORE, "callbacks and chain out, no result yet"),
    Step("result_stored", "child", _DONE, AFTER, "result stored, chord part returned"),
    Step(
        "finished",
        "child",
        "celery.app.trace:send_postrun",
        AFTER,
        "receivers of task_postrun have run",
    ),
    Step("late_ack_begins", "main", _ACK, BEFORE, "acks late: nothing sent to the broker yet"),
    Step("late_acked", "main", _ACK, AFTER, "acks late: the broker was told"),
    Step(
        "retry_published",
        "child",
        "celery.app.task:Task.retry",
        AFTER,
        "the retry is out, the original not acknowledged",
    ),
)
NAMES = tuple(dict.fromkeys(step.name for step in STEPS))


def moved(step: Step) -> str:
    """Why the step's function cannot be found here; empty when it can."""
    if not step.where:
        return ""
    module, _, path = step.where.partition(":")
    try:
        found: object = import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        return f"{step.where} is not there: {error}"
    return ""


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def main() -> None:
    import json

    steps = [{**step._asdict(), "moved": moved(step)} for step in STEPS]
    versions = {name: _installed(name) for name in ("celery", "kombu")}
    json.dump({"versions": versions, "python": sys.executable, "steps": steps}, sys.stdout)


if __name__ == "__main__":
    main()

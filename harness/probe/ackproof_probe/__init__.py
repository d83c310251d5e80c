"""The probe: runs inside the user's producer and workers, and writes down what they do.

It needs Celery and the standard library, nothing of the engine, and no change to the app.
Everything it is told comes in environment variables, set by the harness:

``ACKPROOF_EVENTS``    folder in which each process appends to a file of its own
``ACKPROOF_ROLE``      who this process is: ``worker-1``, ``producer``
``ACKPROOF_SETTINGS``  Celery settings of the trial, JSON, laid over the app's own
``ACKPROOF_BROKER``    URL of the trial's broker, as this process is to reach it
``ACKPROOF_RESULTS``   the run's own result backends, by kind, JSON (``isolation.py``)
``ACKPROOF_TELL_RESULTS``  folder to be told how results are read, where a check needs them
``ACKPROOF_STEPS``     folder of the failpoints that are armed (``steps.py``)
``ACKPROOF_EFFECT``    ``module:function`` that applies a task's effect, if there is one
``ACKPROOF_MARKER``    set: send one marker task when the worker is ready (the baseline)
``ACKPROOF_HOSTNAME``  what Celery takes for the name of this worker's host
"""

from __future__ import annotations

import os
from functools import partial

from ackproof_probe import effects, hostname, isolation, publishing, settings, steps, working
from ackproof_probe.imports import when_imported
from ackproof_probe.missing import safely


def install() -> None:
    """Arrange for each hook to be set as soon as the module it belongs to is imported."""
    for name, hook in (
        ("celery.utils.nodenames", hostname.rename),
        ("celery.app.base", settings.lay_over),
        ("celery.app.base", isolation.watch),
        ("celery.app.amqp", publishing.watch),
        ("celery.signals", working.connect),
        ("kombu.message", working.watch_acknowledgements),
        ("celery.worker.consumer.consumer", working.watch_connection),
        ("celery.worker.worker", working.watch_stopping),
        ("celery.signals", steps.watch_received),
        ("celery.app.trace", steps.watch_trace),
        ("celery.app.task", steps.watch_retry),
        ("celery.backends.base", steps.watch_result),
        ("celery.worker.request", steps.watch_accepting),
        ("celery.worker.worker", steps.watch_processing),
        ("kombu.transport.redis", steps.watch_redis),
        ("kombu.transport.SQS", steps.watch_sqs),
        ("kombu.transport.SQS", working.watch_giving_back),
    ):
        when_imported(name, safely(hook))
    target = os.environ.get("ACKPROOF_EFFECT", "")
    if target:
        module, _, function = target.partition(":")
        when_imported(module, safely(partial(effects.watch, function)))

"""The probe: runs inside the user's producer and workers, and writes down what they do.

It needs Celery and the standard library, nothing of the engine, and no change to the app.
Everything it is told comes in environment variables, set by the harness:

``ACKPROOF_EVENTS``    folder in which each process appends to a file of its own
``ACKPROOF_ROLE``      who this process is: ``worker-1``, ``producer``
``ACKPROOF_SETTINGS``  Celery settings of the trial, JSON, laid over the app's own
``ACKPROOF_EFFECT``    ``module:function`` that applies a task's effect, if there is one
``ACKPROOF_MARKER``    set: send one marker task when the worker is ready (the baseline)
``ACKPROOF_HOSTNAME``  what Celery takes for the name of this worker's host
"""

from __future__ import annotations

import os

from ackproof_probe import effects, hostname, publishing, settings, working
from ackproof_probe.imports import when_imported


def install() -> None:
    """Arrange for each hook to be set as soon as the module it belongs to is imported."""
    when_imported("celery.utils.nodenames", hostname.rename)
    when_imported("celery.app.base", settings.lay_over)
    when_imported("celery.app.amqp", publishing.watch)
    when_imported("celery.signals", working.connect)
    when_imported("kombu.message", working.watch_acknowledgements)
    when_imported("celery.worker.consumer.consumer", working.watch_connection)
    target = os.environ.get("ACKPROOF_EFFECT", "")
    if target:
        module, _, function = target.partition(":")
        when_imported(module, lambda loaded: effects.watch(loaded, function))

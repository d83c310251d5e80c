"""Each worker of a trial stands for a machine of its own, which has a name of its own.

Celery names a worker after its host (``celery@HOST``, ``%h``). Two on one host under one name
are no two workers: on RabbitMQ the second cannot start (its queue for remote control is
exclusive), and elsewhere they answer for each other.
"""

from __future__ import annotations

import os
from types import ModuleType


def rename(nodenames: ModuleType) -> None:
    """Hook on ``celery.utils.nodenames``, from which every other module takes its ``gethostname``:
    too late for a process that was forked with Celery in it, so such a worker starts cold."""
    name = os.environ.get("ACKPROOF_HOSTNAME")
    if name:
        vars(nodenames)["gethostname"] = lambda: name

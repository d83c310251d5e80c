"""The brokers: one file each, found by walking this folder.

A broker ``NAME`` is the module ``harness/brokers/NAME.py``, whose ``BROKER`` satisfies
``harness.protocols.Broker``. There is no list to edit.
"""

from __future__ import annotations

import importlib

from harness.naming import known, modules
from harness.protocols import Broker


def names() -> list[str]:
    """Name every broker there is, in alphabetical order. Imports none of them."""
    return modules(__path__)


def load(name: str) -> Broker:
    """Get the broker called ``name``. Raises UsageError, with the near names."""
    known(name, names(), "broker")
    broker: Broker = importlib.import_module(f"{__name__}.{name}").BROKER
    return broker

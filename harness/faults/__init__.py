"""The faults: one file each, found by walking this folder.

A fault is a frozen struct that satisfies ``harness.protocols.Fault``. Its module ends with
``EXAMPLES``, one for each target or way that it offers: what ``tests/contracts/test_faults.py``
runs on real workers. There is no list to edit.
"""

from __future__ import annotations

import importlib

from harness.naming import modules
from harness.protocols import Fault


def names() -> list[str]:
    """Name every fault there is, in alphabetical order. Imports none of them."""
    return modules(__path__)


def examples(name: str) -> tuple[Fault, ...]:
    """One fault for each target or way that the module ``name`` offers."""
    found: tuple[Fault, ...] = importlib.import_module(f"{__name__}.{name}").EXAMPLES
    return found

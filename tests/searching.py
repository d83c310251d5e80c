"""How many examples Hypothesis tries: as many as a commit has time for, or many times as many."""

from __future__ import annotations

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "same")
"""``same``: the same examples each time. ``search``: new ones, and more (``make full``)."""
_MORE = 20


def examples(number: int) -> int:
    """For ``@settings(max_examples=examples(100))``."""
    return number * _MORE if PROFILE == "search" else number

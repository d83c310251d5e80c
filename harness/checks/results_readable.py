"""The result backend gives the result of every task that came to its end."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from harness import results
from harness.history import History
from harness.model import Verdict


class ResultsReadable(Struct, frozen=True):
    """Broken by a task that returned, or raised, and whose result says something else, or is not
    there. Unknown when there is no backend to be read from outside, or it could not be read."""

    needs: ClassVar[frozenset[str]] = frozenset({"results"})

    def judge(self, history: History) -> Verdict:
        return results.findings(history).verdict()

    def __str__(self) -> str:
        return "results readable"


def results_readable() -> ResultsReadable:
    """Who asks for a result gets it."""
    return ResultsReadable()

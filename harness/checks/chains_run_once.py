"""What follows a task in its chain, or as its callback, runs once when that task has returned."""

from __future__ import annotations

from msgspec import Struct

from harness import chains
from harness.history import History
from harness.model import Verdict


class ChainsRunOnce(Struct, frozen=True):
    """Broken by a task that ran twice, or that was never published or is lost although the one
    before it returned. Unknown while either is held, and when the history has gaps."""

    def judge(self, history: History) -> Verdict:
        return chains.findings(history).verdict()

    def __str__(self) -> str:
        return "chains run once"


def chains_run_once() -> ChainsRunOnce:
    """Each task of a chain whose predecessor returned runs exactly once."""
    return ChainsRunOnce()

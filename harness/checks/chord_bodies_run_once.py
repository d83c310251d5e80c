"""The body of each chord is given each header's result once, the right one, and runs once."""

from __future__ import annotations

from msgspec import Struct

from harness import chords
from harness.history import History
from harness.model import Verdict


class ChordBodiesRunOnce(Struct, frozen=True):
    """Broken by a body that ran twice, received anything else, or cannot run any more: a header
    is lost or failed, or nobody published it. Unknown while a message that could change that is
    held, for bodies and values that cannot be followed, and when the history has gaps."""

    def judge(self, history: History) -> Verdict:
        return chords.findings(history).verdict()

    def __str__(self) -> str:
        return "chord bodies run once"


def chord_bodies_run_once() -> ChordBodiesRunOnce:
    """Each chord comes out: once, and with the right results."""
    return ChordBodiesRunOnce()

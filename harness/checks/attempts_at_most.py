"""No message's body is started more than so many times: a poisoned message runs for ever."""

from __future__ import annotations

from msgspec import Struct

from harness import counting
from harness.history import History
from harness.model import Outcome, Verdict
from harness.telling import tell_some


class AttemptsAtMost(Struct, frozen=True):
    """Broken by a message that was started more often than ``limit``; unknown when the history
    has gaps, or when a message at the limit would be started again."""

    limit: int

    def judge(self, history: History) -> Verdict:
        attempts = {message: len(runs) for message, runs in history.runs_of.items()}
        over = [message for message, times in attempts.items() if times > self.limit]
        if over:
            most = max(attempts.values())
            why = f"{len(over)} started more than {self.limit} times, up to {most}: "
            return Verdict(Outcome.BROKEN, (why + tell_some(history, over),))
        gaps = counting.gaps(history)
        if gaps:
            return Verdict(Outcome.UNKNOWN, tuple(gaps))
        again = counting.at_broker(history)
        coming = [message for message in again if attempts.get(message, 0) == self.limit]
        if coming:
            why = f"{len(coming)} started {self.limit} times are still held and would run again"
            return Verdict(Outcome.UNKNOWN, (why,))
        return Verdict(Outcome.HOLDS)

    def __str__(self) -> str:
        return f"attempts at most {self.limit}"


def attempts_at_most(limit: int) -> AttemptsAtMost:
    """No message is started more than ``limit`` times."""
    return AttemptsAtMost(limit)

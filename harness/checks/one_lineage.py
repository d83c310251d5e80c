"""No message is published twice: two runs that each publish what follows make two lineages."""

from __future__ import annotations

from msgspec import Struct

from harness import counting
from harness.history import History
from harness.model import MessageId, Outcome, Verdict
from harness.telling import tell_some


class OneLineage(Struct, frozen=True):
    """Broken by a message that was published twice for certain. Unknown when one of its publishes
    may not have been sent, when a task that has published others would run again, or when a
    probe could not write some of its events."""

    def judge(self, history: History) -> Verdict:
        twice = list(counting.lineages(history, sure=True))
        if twice:
            why = f"{len(twice)} published more than once: {tell_some(history, twice)}"
            return Verdict(Outcome.BROKEN, (why,))
        gaps = counting.gaps(history)
        if gaps:
            return Verdict(Outcome.UNKNOWN, tuple(gaps))
        perhaps = list(counting.lineages(history))
        if perhaps:
            told = tell_some(history, perhaps)
            why = f"{len(perhaps)} published more than once, or sent once after all: {told}"
            return Verdict(Outcome.UNKNOWN, (why,))
        coming = [m for m in counting.would_run_again(history) if _has_published(history, m)]
        if coming:
            told = tell_some(history, coming)
            why = f"{len(coming)} that published others are still held and would run again: {told}"
            return Verdict(Outcome.UNKNOWN, (why,))
        return Verdict(Outcome.HOLDS)

    def __str__(self) -> str:
        return "one lineage"


def _has_published(history: History, message: MessageId) -> bool:
    """Whether it has published its own retry, or what follows it."""
    retry = MessageId(message.task_id, message.retries + 1)
    known = counting.attempted(history)
    following = [e.data.get("follows") for e in history.life(message) if e.kind == "publish_invoke"]
    return retry in known or any(
        MessageId(str(one), 0) in known for ids in following if isinstance(ids, list) for one in ids
    )


def one_lineage() -> OneLineage:
    """Nothing is published twice."""
    return OneLineage()

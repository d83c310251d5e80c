"""Puts a message's life into words, for the reasons of a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from harness.history import History
from harness.model import MessageId

SHOWN = 2
_UNTOLD = {"publish_invoke", "effect_begin", "effect_applied"}


def tell(history: History, message: MessageId) -> str:
    """One message: each step with its time since the first publish, and any death under it."""
    moments = [
        (event.mono_s, event.kind.replace("_", " "))
        for event in history.life(message)
        if event.kind not in _UNTOLD
    ]
    moments += [
        (run.cut_off_s, f"its process {run.pid} died")
        for run in history.executions_of.get(message, ())
        if run.cut_off_s is not None
    ]
    told = ", ".join(f"{what} {at_s - history.start_s:+.2f} s" for at_s, what in sorted(moments))
    retry = f" retry {message.retries}" if message.retries else ""
    return f"{message.task_id[:8]}{retry} [{told}]"


def tell_some(history: History, messages: Sequence[MessageId]) -> str:
    """The first few messages, and how many more there are."""
    told = "; ".join(tell(history, message) for message in messages[:SHOWN])
    more = len(messages) - SHOWN
    return f"{told}; and {more} more" if more > 0 else told

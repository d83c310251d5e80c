"""Step 7: when is a trial over? As soon as the fate of every message is determined.

Pure: decides from the history so far, what the broker says, and the time. ``None`` means
that waiting longer can still change something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from harness import counting
from harness.history import History
from harness.model import BrokerView, Horizon, MessageId

QUIET_S = 0.5
"""No event for this long: what is in flight between a broker and a worker has arrived."""

TRANSIT_S = 4.0
"""No event for this long: even a message that no worker was seen to receive is not on its
way any more (a publisher's bytes in a socket, a slow poll's reply)."""
GRACE_S = 5.0
"""Beyond the horizon, because a loaded machine is late too: late must not be called lost."""


class Settled(Struct, frozen=True):
    """Why a drain ended. ``settled`` is false when the trial gave up waiting."""

    why: str
    settled: bool = True


class Drain(Struct, frozen=True):
    """What the decision needs to know. ``live`` are the roles whose worker runs; times are
    ``mono_s`` but for ``now_at_s``, the same moment on the wall clock."""

    history: History
    live: frozenset[str]
    horizon: Horizon
    patience_s: float
    now_s: float
    now_at_s: float
    progress_s: float
    """When something last happened that counts as progress: an end, a fault, a new worker."""
    idle_s: float
    """Since when no worker was busy: from here on, only redelivery can bring work."""
    event_s: float
    """When the last event of any kind was written."""


def busy(drain: Drain) -> bool:
    """Whether a worker has something in its hands that it will run, or is coming up."""
    history = drain.history
    return bool(
        history.going_at(drain.now_s)
        or _reserved(history, drain.live)
        or _coming_up(history, drain.live)
    )


def gave_up(drain: Drain) -> Settled | None:
    """The bound of every trial: idle for as long as redelivery can take, or without progress
    for as long as the scenario waits."""
    waited_s = drain.now_s - drain.progress_s
    if drain.now_s - drain.idle_s > drain.horizon.seconds + GRACE_S:
        return Settled(f"idle for the redelivery horizon of {drain.horizon.seconds:.0f} s")
    if waited_s > drain.patience_s:
        return Settled(
            f"no progress for {drain.patience_s:.0f} s, short of the horizon", settled=False
        )
    return None


def decide(drain: Drain, view: BrokerView) -> Settled | None:
    """Whether the trial is over, given that no worker is busy."""
    left = _unfinished(drain.history)
    if view.total == 0 and not left:
        return Settled("every message is completed, and the broker holds none")
    if drain.now_s - drain.event_s < _quiet_needed_s(drain, left):
        return None
    if view.total == 0:
        return Settled(f"nobody holds the other {len(left)} messages any more")
    if not drain.live:
        return Settled(f"no worker is left, and the broker holds {view.total} messages")
    return _all_come_back_too_late(drain, view) if view.ready == 0 else None


def _unfinished(history: History) -> list[MessageId]:
    """Messages that may have been sent and have not been completed."""
    done = counting.completed(history)
    fates = counting.attempted(history)
    return [m for m, fate in fates.items() if fate != "rejected" and m not in done]


def _quiet_needed_s(drain: Drain, left: Iterable[MessageId]) -> float:
    """How long nothing must have happened. A message whose last receiver is gone, or has
    settled it, is not on its way to anybody; any other might be."""
    gone_s = {event.role: event.mono_s for event in drain.history.of("connection_lost")}
    for message in left:
        life = drain.history.life(message)
        received = [event for event in life if event.kind == "received"]
        settled = [event for event in life if event.kind in {"acked", "rejected"}]
        if not received:
            return TRANSIT_S
        last = received[-1]
        forgotten = last.role not in drain.live or gone_s.get(last.role, 0.0) > last.mono_s
        if not forgotten and not any(event.mono_s >= last.mono_s for event in settled):
            return TRANSIT_S
        if any(event.kind == "rejected" and event.data.get("requeue") for event in settled[-1:]):
            return TRANSIT_S
    return QUIET_S


def _all_come_back_too_late(drain: Drain, view: BrokerView) -> Settled | None:
    """Held messages that return only after the trial would have given up."""
    backs = list(_returns(drain, view))
    give_up_at_s = drain.now_at_s + drain.patience_s - (drain.now_s - drain.progress_s)
    if len(backs) < view.unacked or not backs or min(backs) <= give_up_at_s:
        return None
    return Settled(
        f"the other {view.unacked} messages come back in {min(backs) - drain.now_at_s:.0f} s "
        f"at the earliest, longer than the {drain.patience_s:.0f} s this trial waits"
    )


def _returns(drain: Drain, view: BrokerView) -> Iterable[float]:
    """When each unacknowledged message comes back, wall clock; where the broker does not
    name them, from when each was last received."""
    if view.named:
        return [one.back_at_s for one in view.held if one.back_at_s is not None]
    given_out: dict[MessageId, float] = {}
    for event in drain.history.of("publish_ok", "received"):
        given_out[event.message] = event.at_s
    settled = {event.message for event in drain.history.of("acked", "rejected")}
    return [
        at_s + drain.horizon.seconds
        for message, at_s in given_out.items()
        if message not in settled
    ]


def _reserved(history: History, live: frozenset[str]) -> bool:
    """A live worker received a message that it has neither started nor settled.

    What it had received before it lost its connection it forgets (``Consumer.on_close``).
    """
    lost_s = {event.role: event.mono_s for event in history.of("connection_lost")}
    pending: Counter[tuple[str, MessageId]] = Counter()
    for event in history.of("received"):
        if event.role in live and event.mono_s > lost_s.get(event.role, float("-inf")):
            pending[event.role, event.message] += 1
    started = Counter((event.role, event.message) for event in history.of("started"))
    settled = Counter((event.role, event.message) for event in history.of("acked", "rejected"))
    return any(times > max(started[key], settled[key]) for key, times in pending.items())


def _coming_up(history: History, live: frozenset[str]) -> bool:
    """A live worker that is not ready yet, or has lost its broker and not found it again."""
    ready = {event.role for event in history.of("worker_ready")}
    last: dict[str, str] = {}
    for event in history.of("connected", "connection_lost"):
        last[event.role] = event.kind
    return any(role not in ready or last.get(role) == "connection_lost" for role in live)

"""Step 7: when is a trial over? As soon as the fate of every message is determined.

Pure: decides from the history so far, what the broker says, and the time. ``None`` means
that waiting longer can still change something.

    what stirs      event, fault's end, worker's start
    ─────────────────────┴───────────── quiet ─────────────▶
    looks at the broker     ▲      ▲      ▲      ▲  all the same

Nothing is decided on one look. Events are read after each, so that what a look no longer
shows because a worker took it is in the history when the two are held against each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import inf

from msgspec import Struct

from harness import counting
from harness.history import Execution, History
from harness.model import BrokerView, Horizon, MessageId

QUIET_S = 0.5
"""Looks that are the same for so long: what is in flight between a broker and a worker has
arrived."""

TRANSIT_S = 4.0
"""The same, for a message of which nobody knows that it is not on its way: published and not
received (a publisher's bytes in a socket, a slow poll's reply), or given back and popped
again (on Redis it is nowhere until its new worker has noted it)."""
GRACE_S = 5.0
"""Beyond the horizon, because a loaded machine is late too: late must not be called lost."""


class Settled(Struct, frozen=True):
    """Why a drain ended. ``settled`` is false when the trial gave up waiting."""

    why: str
    settled: bool = True
    loops: bool = False
    """Whether something would have gone on for ever; ``why`` names it."""
    looping: MessageId | None = None
    """The message that was given out again and again, where it is one."""


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
    bound_s: float = inf
    """When the trial ends, whatever goes on."""
    attempts_max: int = 20
    """A message that was started so often would be for ever."""


class Looks:
    """The looks at the broker since when nothing has changed: the first and the last of them."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """What was seen so far says nothing of now: somebody was at work."""
        self.view: BrokerView | None = None
        """What they all say."""
        self.same_s = -inf
        """From the first one's answer to the last one's question."""
        self._first_asked_s = -inf
        self._first_answered_s = inf

    def add(self, view: BrokerView, *, asked_s: float, answered_s: float, stirred_s: float) -> None:
        """One more look. ``stirred_s`` is when something last happened, as far as is known after
        it: a look from before that tells nothing of now."""
        same = self.view is not None and _held(view) == _held(self.view)
        if same and stirred_s < self._first_asked_s:
            self.same_s = asked_s - self._first_answered_s
        else:
            self.forget()
            self._first_asked_s, self._first_answered_s = asked_s, answered_s
        self.view = view


def _held(view: BrokerView) -> tuple[object, ...]:
    named = Counter((one.task_id, one.retries, one.where) for one in view.held)
    return view.ready, view.unacked, named


def busy(drain: Drain) -> bool:
    """Whether a worker has something in its hands that it will run or give back, or is coming
    up."""
    history = drain.history
    return bool(
        history.going_at(drain.now_s)
        or _reserved(history, drain.live)
        or _unnoticed(history, drain.live)
        or _coming_up(history, drain.live)
        or _going_down(history, drain.live)
    )


def kept(history: History, live: frozenset[str]) -> frozenset[MessageId]:
    """Messages that a living worker has received and not settled."""
    found: set[MessageId] = set()
    for event in history.of("received", "acked", "rejected"):
        if event.role in live:
            found.discard(event.message)
            found |= {event.message} if event.kind == "received" else set()
    return frozenset(found)


def gave_up(drain: Drain, view: BrokerView | None = None) -> Settled | None:
    """The bounds of every trial: idle for as long as redelivery can take, without progress for
    as long as the scenario waits, and a hard one in time. What the broker says will come later
    than the horizon is not overdue."""
    if looping := _looping(drain):
        return looping
    waited_s = drain.now_s - drain.progress_s
    overdue = view is None or all(one.back_at_s is None for one in view.held)
    if overdue and drain.now_s - drain.idle_s > drain.horizon.seconds + GRACE_S:
        return Settled(f"idle for the redelivery horizon of {drain.horizon.seconds:.0f} s")
    if waited_s > drain.patience_s:
        return Settled(
            f"no progress for {drain.patience_s:.0f} s (patience_s), short of the redelivery "
            f"horizon of {drain.horizon.seconds:.0f} s",
            settled=False,
        )
    return None


def _looping(drain: Drain) -> Settled | None:
    """Progress for ever is none: a message that is given out each time anew, or a trial whose
    time is over. What loops is named."""
    left = set(_unfinished(drain.history))
    for message, runs in drain.history.runs_of.items():
        if len(runs) < drain.attempts_max:
            continue
        others = left - {message}
        # What was there before its second run has been passed over so often that it is for ever.
        if all(_passed_over(drain.history, one, runs[1:]) for one in others):
            told = f"{message.task_id} ({runs[0].task}) was started {len(runs)} times"
            told += " and never came to its end" if message in left else ""
            told += f", before {len(others)} that were there earlier" if others else ""
            return Settled(told, loops=True, looping=message)
    if drain.now_s < drain.bound_s:
        return None
    starts = Counter(run.task for run in drain.history.executions)
    if not starts:
        return Settled("its time is over, and nothing was ever started", settled=False)
    [(task, number)] = starts.most_common(1)
    latest_s = max(run.started_s for run in drain.history.executions)
    return Settled(
        f"its time is over: {task} was started {number} times, "
        f"and the last start of any task was {drain.now_s - latest_s:.1f} s ago",
        settled=False,
        loops=True,
    )


def _passed_over(history: History, message: MessageId, for_runs: Sequence[Execution]) -> bool:
    """Whether a message was with the broker before all these runs of another, and no worker was
    ever seen to have it."""
    life = history.life(message)
    sent_s = min((e.mono_s for e in life if e.kind == "publish_ok"), default=inf)
    seen = any(e.kind not in {"publish_invoke", *_PUBLISHED} for e in life)
    return not seen and bool(for_runs) and sent_s < for_runs[0].started_s


_PUBLISHED = ("publish_ok", "publish_info", "publish_fail")


def decide(drain: Drain, looks: Looks) -> Settled | None:
    """Whether the trial is over, given that no worker is busy."""
    view = looks.view
    if view is None:
        return None
    left = _unfinished(drain.history)
    if looks.same_s < _quiet_needed_s(drain, view, left):
        return None
    if view.total == 0 and not left:
        return Settled("every message is completed, and the broker holds none")
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


def _quiet_needed_s(drain: Drain, view: BrokerView, left: Iterable[MessageId]) -> float:
    """How long every look must have been the same, and nothing have happened. What nobody has
    settled for good, and nobody is seen to hold, may be on its way to a worker that lives."""
    if not drain.live:
        return QUIET_S
    seen = {MessageId(one.task_id, one.retries) for one in view.held}
    given_out = _given_out(drain.history)
    settled = {event.message for event in drain.history.of("acked", "rejected")} - given_out
    if given_out - seen or set(left) - seen - settled:
        return TRANSIT_S
    # With nothing left to be seen, two looks are enough.
    return QUIET_S if view.total or left else 0.0


def _given_out(history: History) -> set[MessageId]:
    """Messages that a worker received, and that nobody has settled for good since."""
    open_ones: set[MessageId] = set()
    for event in history.of("received", "acked", "rejected"):
        if event.kind == "received" or event.data.get("requeue"):
            open_ones.add(event.message)
        else:
            open_ones.discard(event.message)
    return open_ones


def _all_come_back_too_late(drain: Drain, view: BrokerView) -> Settled | None:
    """Held messages that return, at the earliest, only after the trial would have given up."""
    backs = list(_returns(drain, view))
    give_up_at_s = drain.now_at_s + drain.patience_s - (drain.now_s - drain.progress_s)
    if len(backs) < view.unacked or not backs or min(backs) <= give_up_at_s:
        return None
    return Settled(
        f"the other {view.unacked} messages come back in {min(backs) - drain.now_at_s:.0f} s "
        f"at the earliest, longer than the {drain.patience_s:.0f} s this trial waits"
    )


def _returns(drain: Drain, view: BrokerView) -> Iterable[float]:
    """The earliest return of each unacknowledged message, wall clock; where the broker does not
    name them, from when each was last received, or given back by a worker that told when it is out
    again."""
    if view.named:
        return [one.earliest_at_s for one in view.held if one.earliest_at_s is not None]
    earliest_s = drain.horizon.earliest_s
    back_s = {e.message: e.mono_s + earliest_s for e in drain.history.of("publish_ok")}
    given_back = counting.given_back(drain.history)
    for event in drain.history.of("received", "acked", "rejected"):
        if event.kind == "received":
            back_s[event.message] = event.mono_s + earliest_s
        else:
            back_s.pop(event.message, None)
    for message, (event, in_s) in given_back.items():
        back_s[message] = event.mono_s + in_s
    return [drain.now_at_s + mono_s - drain.now_s for mono_s in back_s.values()]


def _reserved(history: History, live: frozenset[str]) -> bool:
    """A live worker received a message that it has neither started nor settled.

    What it had received before it lost its connection it forgets (``Consumer.on_close``).
    """
    lost_s = {event.role: event.mono_s for event in history.of("connection_lost")}

    def times(*kinds: str) -> Counter[tuple[str, MessageId]]:
        return Counter(
            (event.role, event.message)
            for event in history.of(*kinds)
            if event.role in live and event.mono_s > lost_s.get(event.role, -inf)
        )

    started, settled = times("started"), times("acked", "rejected")
    return any(
        number > max(started[key], settled[key]) for key, number in times("received").items()
    )


def _unnoticed(history: History, live: frozenset[str]) -> bool:
    """A pool process died under a message, and its worker, which lives, has not settled it yet.

    Celery may take 5 s to look after its pool, and 10 s more for a lost result; only then does
    it acknowledge the message, or give it back.
    """
    lost_s = {event.role: event.mono_s for event in history.of("connection_lost")}
    runs = [run for run in history.executions if run.role in live]
    died = [run for run in runs if run.cut_off_s is not None or run.died_s is not None]
    return any(
        not _settled_since(history, run)
        for run in died
        if run.started_s > lost_s.get(run.role, -inf)
    )


def _settled_since(history: History, run: Execution) -> bool:
    """Whether the worker has settled the message since it received it for this run."""
    life = [event for event in history.life(run.message) if event.role == run.role]
    received_s = [
        event.mono_s for event in life if event.kind == "received" and event.mono_s <= run.started_s
    ]
    return any(
        event.kind in {"acked", "rejected"} and event.mono_s >= max(received_s, default=-inf)
        for event in life
    )


def _coming_up(history: History, live: frozenset[str]) -> bool:
    """A live worker that is not ready yet, or has lost its broker and not found it again."""
    ready = {event.role for event in history.of("worker_ready")}
    last: dict[str, str] = {}
    for event in history.of("connected", "connection_lost"):
        last[event.role] = event.kind
    return any(role not in ready or last.get(role) == "connection_lost" for role in live)


def _going_down(history: History, live: frozenset[str]) -> bool:
    """A worker that has begun to end, and has not: what it holds it gives back at the very end of
    it (``Channel.close`` of kombu's virtual transports), a second later and more."""
    return any(event.role in live for event in history.of("worker_stopping"))

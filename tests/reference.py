"""A second opinion: the counts of the contract, worked out the slow and obvious way.

It shares no code with the engine. It walks through the events once, in order of time, and
plays them: each process has runs going, each worker has deliveries in its hand. Then it asks
each message, one by one, what became of it. Its results are sets of messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.model import Event

Message = tuple[str, int]
MARKER = "ackproof.marker"


@dataclass(eq=False)
class Run:
    message: Message
    role: str
    pid: int
    began: float
    ended: float | None = None
    broke: float | None = None
    by_redelivery: bool = False


@dataclass
class World:
    """All that is known after the last event."""

    runs: list[Run] = field(default_factory=list)
    publishes: dict[Message, list[str]] = field(default_factory=dict)
    when: dict[Message, dict[str, float]] = field(default_factory=dict)
    delivered: dict[Message, Event] = field(default_factory=dict)
    """The first delivery of each message."""
    hands: dict[tuple[str, Message], list[Event]] = field(default_factory=dict)
    effects: list[Message] = field(default_factory=list)
    effects_read: bool = False
    drain_end: float | None = None
    broker: list[Message] | None = None
    """Messages with the broker at the end; None when it is not known of every one."""
    hidden: int = 0
    """How many more the broker holds than it names."""
    settled: set[Message] = field(default_factory=set)
    """Messages that a worker took from the broker for good."""
    seen: list[Message] = field(default_factory=list)
    """Messages the broker was seen to hold, though there may be others."""
    late_after: float | None = None
    missed: bool = False

    def play(self, event: Event) -> None:  # noqa: C901 - one case an event
        message = (event.task_id, event.retries)
        self.missed = self.missed or "events_missed_before" in event.data
        match event.kind:
            case "trial":
                late_after = event.data["late_after_s"]
                self.late_after = late_after if isinstance(late_after, float) else None
            case "publish_invoke" | "publish_ok" | "publish_fail" | "publish_info":
                outcome = event.kind.removeprefix("publish_")
                self.publishes.setdefault(message, []).append(outcome)
                self.when.setdefault(message, {}).setdefault(outcome, event.mono_s)
            case "received":
                self.delivered.setdefault(message, event)
                self.hands.setdefault((event.role, message), []).append(event)
            case "started":
                self.begin(event, message)
            case "finished":
                self.finish(event, message)
            case "process_exited":
                self.die(event)
            case "connection_lost":
                self.forget(event.role)
            case "effect_applied":
                self.effects.append(message)
            case "effects_read":
                self.effects_read = True
            case "drain_ended":
                self.drain_end = event.mono_s
            case "broker_final":
                self.look(event)
            case "acked" | "rejected" if not event.data.get("requeue"):
                self.settled.add(message)

    def begin(self, event: Event, message: Message) -> Run:
        run = Run(message, event.role, event.pid, event.mono_s)
        delivery = self.hands[event.role, message].pop(0)
        first = delivery is self.delivered[message]
        run.by_redelivery = not first or bool(delivery.data["redelivered"])
        self.runs.append(run)
        return run

    def finish(self, event: Event, message: Message) -> None:
        mine = [
            run
            for run in self.runs
            if (run.message, run.role, run.pid) == (message, event.role, event.pid)
            and run.ended is None
        ]
        going = [run for run in mine if run.broke is None]
        torn = [run for run in mine if run.broke is not None and run not in self.given_up]
        known = [*going[:1], *torn[-1:]]
        run = known[0] if known else self.begin(event, message)
        run.broke = run.ended = None
        if event.data["state"] == "None":
            run.broke = event.mono_s
            self.given_up.append(run)
        else:
            run.ended = event.mono_s

    given_up: list[Run] = field(default_factory=list)
    """Runs whose own process said that they were torn off: no finish can follow."""

    def die(self, event: Event) -> None:
        for run in self.runs:
            struck = event.data["leader"] or run.pid == event.data["pid"]
            going = run.ended is None and run.broke is None
            if run.role == event.data["name"] and struck and going:
                run.broke = event.mono_s
        if event.data["leader"]:
            self.forget(str(event.data["name"]))

    def forget(self, role: str) -> None:
        for owner, message in list(self.hands):
            if owner == role:
                del self.hands[owner, message]

    def look(self, event: Event) -> None:
        view = event.data["view"]
        assert isinstance(view, dict)
        self.seen = [(held["task_id"], held["retries"]) for held in view["held"]]
        hidden = view["ready"] + view["unacked"] - len(self.seen)
        self.hidden = 0 if view["named"] else hidden
        self.broker = None if self.hidden else self.seen

    def eliminate(self, fates: dict[Message, str]) -> None:
        """When as many are hidden as could be at all, they are those."""
        sent = {message for message in fates if fates[message] != "rejected"}
        rest = sent - set(self.seen) - self.settled
        if self.hidden == len(rest):
            self.seen = self.broker = [*self.seen, *rest]


def reference(events: Iterable[Event]) -> dict[str, int | None]:
    """The counts, by the names of the contract."""
    world = World()
    ordered = sorted(events, key=lambda event: event.mono_s)
    for event in ordered:
        if event.task != MARKER:
            world.play(event)
    end = world.drain_end if world.drain_end is not None else ordered[-1].mono_s
    fates = {message: fate(outcomes) for message, outcomes in world.publishes.items()}
    if world.hidden:
        world.eliminate(fates)
    ran = {run.message for run in world.runs}
    done = {run.message for run in world.runs if run.ended is not None}
    in_hand = {
        run.message
        for run in world.runs
        if run.ended is None and (run.broke is None or run.broke > end)
    }
    held = in_hand | set(world.seen)
    waiting = {message for message in fates if message not in done}
    sure = world.broker is not None and not world.missed
    return {
        "attempted": len(fates),
        "confirmed": list(fates.values()).count("confirmed"),
        "rejected": list(fates.values()).count("rejected"),
        "indeterminate": list(fates.values()).count("indeterminate"),
        "completed": len(done & set(fates)),
        "lost": len({m for m in waiting - held if fates[m] == "confirmed"}) if sure else 0,
        "stranded": len({m for m in waiting & held if fates[m] != "rejected"}),
        "late": len({m for m in done & set(fates) if is_late(world, m)}),
        "duplicate_executions": len({m for m in ran if len(runs_of(world, m)) > 1}),
        "overlapping_executions": len({m for m in ran if overlap(runs_of(world, m))}),
        "duplicate_effects": (
            len({m for m in world.effects if world.effects.count(m) > 1})
            if world.effects_read
            else None
        ),
        "unexpected": len(ran - set(fates)),
        "redelivery_pending": len(done & set(world.seen)),
    }


def fate(outcomes: list[str]) -> str:
    if "ok" in outcomes:
        return "confirmed"
    tries, failures = outcomes.count("invoke"), outcomes.count("fail")
    return "rejected" if failures >= tries and "info" not in outcomes else "indeterminate"


def runs_of(world: World, message: Message) -> list[Run]:
    return [run for run in world.runs if run.message == message]


def overlap(runs: list[Run]) -> bool:
    """Whether any two were going at the same time, each pair tried."""

    def until(run: Run) -> float:
        if run.ended is not None:
            return run.ended
        return run.broke if run.broke is not None else float("inf")

    return any(
        one is not other and one.began <= other.began < until(one) for one in runs for other in runs
    )


def is_late(world: World, message: Message) -> bool:
    ended = [(run.ended, run) for run in runs_of(world, message) if run.ended is not None]
    first_end, run = min(ended, key=lambda pair: pair[0])
    when = world.when[message]
    since = when.get("ok", when.get("invoke"))
    if since is None or world.late_after is None:
        return False
    return run.by_redelivery and first_end - since > world.late_after

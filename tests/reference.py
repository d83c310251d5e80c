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
    waits: bool = False
    """Held by a fault before the first line of its body, or made to raise there."""


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
    drain_settled: bool = False
    fault: float | None = None
    """When the first fault fired."""
    end: float = 0.0

    def play(self, event: Event) -> None:  # noqa: C901, PLR0912 - one case an event
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
            case "step_reached" | "step_left":
                self.hold(event, message)
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
                self.drain_settled = bool(event.data["settled"])
            case "fault_fired":
                self.fault = event.mono_s if self.fault is None else self.fault
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

    def hold(self, event: Event, message: Message) -> None:
        mine = [
            r for r in self.runs if (r.message, r.role, r.pid) == (message, event.role, event.pid)
        ]
        for run in mine[-1:]:
            held = event.kind == "step_reached" and bool(event.data.get("holds"))
            run.waits = held or event.data.get("how") == "raised"

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


@dataclass(eq=False)
class Known:
    """What is known of each message after the last event."""

    world: World
    fates: dict[Message, str]
    """What became of its publish."""
    ran: set[Message]
    done: set[Message]
    held: set[Message]
    sure: bool
    """Whether what is not seen did not happen."""

    def __post_init__(self) -> None:
        self.waiting = set(self.fates) - self.done
        gone = self.waiting - self.held
        self.lost = {m for m in gone if self.sure and self.fates[m] == "confirmed"}
        self.unclear = {m for m in gone if self.fates[m] == "indeterminate"}
        self.stranded = {m for m in self.waiting & self.held if self.fates[m] != "rejected"}
        self.duplicates = {m for m in self.ran if len(runs_of(self.world, m)) > 1}
        self.overlapping = {m for m in self.ran if overlap(runs_of(self.world, m))}
        self.doubled = {m for m in self.world.effects if self.world.effects.count(m) > 1}
        self.again = self.ran & set(self.world.seen)
        self.unexpected = self.ran - set(self.fates)

    def became(self, message: Message) -> str:
        """Its fate, in the words of the tries."""
        if message in self.done & self.duplicates:
            return "duplicate"
        if not (self.sure and self.world.drain_settled):
            return "unknown"
        if message in self.done:
            return "pending" if message in self.world.seen else "once"
        if message in self.stranded:
            return "stranded"
        return "lost" if message in self.lost else "unknown"

    @property
    def recovery(self) -> float | None:
        fault = self.world.fault
        if fault is None:
            return None
        ends = [r.ended - fault for r in self.world.runs if r.began > fault and r.ended is not None]
        return min(ends) if ends else None


def know(events: Iterable[Event]) -> Known:
    """Plays the events, and asks what became of each message."""
    world = World()
    ordered = sorted(events, key=lambda event: event.mono_s)
    for event in ordered:
        if event.task != MARKER:
            world.play(event)
    end = world.drain_end if world.drain_end is not None else ordered[-1].mono_s
    world.end = end
    fates = {message: fate(outcomes) for message, outcomes in world.publishes.items()}
    if world.hidden:
        world.eliminate(fates)
    in_hand = {
        run.message
        for run in world.runs
        if run.ended is None and (run.broke is None or run.broke > end)
    }
    return Known(
        world,
        fates,
        ran={run.message for run in world.runs if not never_began(run)},
        done={run.message for run in world.runs if run.ended is not None},
        held=in_hand | set(world.seen),
        sure=world.broker is not None and not world.missed,
    )


def reference(events: Iterable[Event]) -> dict[str, int | None]:
    """The counts, by the names of the contract."""
    known = know(events)
    fates = list(known.fates.values())
    published = known.done & set(known.fates)
    return {
        "attempted": len(fates),
        "confirmed": fates.count("confirmed"),
        "rejected": fates.count("rejected"),
        "indeterminate": fates.count("indeterminate"),
        "completed": len(published),
        "lost": len(known.lost),
        "stranded": len(known.stranded),
        "late": len({m for m in published if is_late(known.world, m)}),
        "duplicate_executions": len(known.duplicates),
        "overlapping_executions": len(known.overlapping),
        "duplicate_effects": len(known.doubled) if known.world.effects_read else None,
        "unexpected": len(known.unexpected),
        "redelivery_pending": len(known.done & set(known.world.seen)),
    }


def fate(outcomes: list[str]) -> str:
    if "ok" in outcomes:
        return "confirmed"
    tries, failures = outcomes.count("invoke"), outcomes.count("fail")
    return "rejected" if failures >= tries and "info" not in outcomes else "indeterminate"


def never_began(run: Run) -> bool:
    """Its process died where it was held, or it raised there."""
    return run.waits and run.broke is not None and run.ended is None


def runs_of(world: World, message: Message) -> list[Run]:
    return [run for run in world.runs if run.message == message and not never_began(run)]


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

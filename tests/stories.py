"""Histories by chance, for Hypothesis: deeds done to three messages by two workers, and how it
all ended. Only what could be: a worker runs only what it has received."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from harness.model import Event, Held
from tests.histories import LEADER, MAIN, Story

MESSAGES = (("a", 0), ("a", 1), ("b", 0))
WORKERS = ("worker-1", "worker-2")
PIDS = (11, 12)


class Deed(NamedTuple):
    """Something that happens to a message, in a worker's child."""

    what: str
    message: tuple[str, int]
    worker: str
    pid: int


class Ending(NamedTuple):
    """What is known when it is over."""

    held: frozenset[tuple[str, int]]
    unnamed: int
    looked: bool
    effects_read: bool
    missed: bool


PUBLISHES = ("ok", "fail", "info", "died")
DEEDS = (
    *("publish ok", "publish ok", "fault"),
    *(f"publish {outcome}" for outcome in PUBLISHES),
    *("receive", "receive again", "start", "start", "finish", "finish", "finish torn off"),
    *("held at its start", "let go", "let raise"),
    *(
        "child dies",
        "leader dies",
        "connection lost",
        "acked",
        "requeued",
        "effect",
        "marker",
        "drain",
        "drain gives up",
        "fault",
    ),
)
deeds = st.builds(
    Deed,
    st.sampled_from(DEEDS),
    st.sampled_from(MESSAGES),
    st.sampled_from(WORKERS),
    st.sampled_from(PIDS),
)
endings = st.builds(
    Ending,
    st.frozensets(st.sampled_from(MESSAGES)),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([True, True, True, False]),
    st.booleans(),
    st.sampled_from([False, False, False, True]),
)
Tale = tuple[list[Deed], Ending, float | None]
"""What is done, how it ends, and from when on a message is late."""
stories = st.tuples(st.lists(deeds, max_size=25), endings, st.sampled_from([None, 2.0, 6.0]))


class Teller:
    """Turns deeds into a history that could be: a worker runs only what it has received."""

    def __init__(self, late_after_s: float | None) -> None:
        self.story = Story(late_after_s=late_after_s)
        self.hands: dict[tuple[str, tuple[str, int]], int] = {}
        self.going: list[tuple[str, int, tuple[str, int]]] = []
        self.drained = False

    def tell(self, deed: Deed) -> None:  # noqa: C901, PLR0912 - one case a deed
        (task_id, retries), worker, pid = deed.message, deed.worker, deed.pid
        place = (worker, pid, deed.message)
        match deed.what.split():
            case ["publish", outcome]:
                self.story.publish(task_id, outcome, retries=retries)
            case ["receive", *again]:
                self.receive(deed, redelivered=bool(again))
            case ["start"]:
                self.take(deed)
                self.story.started(task_id, worker, pid=pid, retries=retries)
                self.going.append(place)
            case ["held", *_] if self.going and place == self.going[-1]:
                self.story.held(task_id, worker, pid=pid, retries=retries)
            case ["let", "go" | "raise" as how] if place in self.going:
                told = "released" if how == "go" else "raised"
                self.story.let_go(task_id, worker, pid=pid, retries=retries, how=told)
            case ["finish", *torn_off]:
                if place in self.going:
                    self.going.remove(place)
                else:  # its start was not written
                    self.take(deed)
                state = "None" if torn_off else "SUCCESS"
                self.story.finished(task_id, worker, pid=pid, retries=retries, state=state)
            case ["child", "dies"]:
                self.story.dies(worker, pid=pid)
            case ["leader", "dies"]:
                self.story.dies(worker, pid=LEADER)
                self.forget(worker)
            case ["connection", "lost"]:
                self.story.event("connection_lost", role=worker, by=MAIN)
                self.forget(worker)
            case ["acked"]:
                self.story.acked(task_id, worker, retries=retries)
            case ["requeued"]:
                self.story.event(
                    "rejected", task_id, role=worker, by=MAIN, retries=retries, requeue=True
                )
            case ["effect"]:
                self.story.event("effect_applied", task_id, retries=retries)
            case ["marker"]:
                self.story.marker(worker, pid=pid)
            case ["drain", *gives_up] if not self.drained:
                self.drained = True
                self.story.drained(settled=not gives_up)
            case ["fault"]:
                self.story.fires()

    def receive(self, deed: Deed, *, redelivered: bool = False) -> None:
        task_id, retries = deed.message
        self.story.received(task_id, deed.worker, retries=retries, redelivered=redelivered)
        key = (deed.worker, deed.message)
        self.hands[key] = self.hands.get(key, 0) + 1

    def take(self, deed: Deed) -> None:
        key = (deed.worker, deed.message)
        if not self.hands.get(key):
            self.receive(deed)
        self.hands[key] -= 1

    def forget(self, worker: str) -> None:
        self.hands = {key: number for key, number in self.hands.items() if key[0] != worker}

    def end(self, ending: Ending) -> None:
        if ending.missed:
            self.story.event("worker_ready", role="worker-9", by=99, events_missed_before=1)
        if ending.looked:
            held = [Held(task_id, retries, "unacked") for task_id, retries in sorted(ending.held)]
            self.story.broker_holds(*held, unnamed=ending.unnamed)
        if ending.effects_read:
            self.story.effects()


def told(story: Tale) -> list[Event]:
    done, ending, late_after_s = story
    teller = Teller(late_after_s)
    for deed in done:
        teller.tell(deed)
    teller.end(ending)
    return teller.story.events

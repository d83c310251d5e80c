"""The counting against a second opinion, and what no change of a history may do to it."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.counting import count
from harness.history import History
from harness.model import Event, Held
from tests.histories import LEADER, MAIN, Story
from tests.reference import reference
from tests.searching import examples

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
    *(f"publish {outcome}" for outcome in PUBLISHES),
    *("receive", "receive again", "start", "start", "finish", "finish", "finish torn off"),
    *(
        "child dies",
        "leader dies",
        "connection lost",
        "acked",
        "requeued",
        "effect",
        "marker",
        "drain",
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
            case ["drain"] if not self.drained:
                self.drained = True
                self.story.drained()

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


def told(story: tuple[list[Deed], Ending, float | None]) -> list[Event]:
    done, ending, late_after_s = story
    teller = Teller(late_after_s)
    for deed in done:
        teller.tell(deed)
    teller.end(ending)
    return teller.story.events


@settings(max_examples=examples(400))
@given(stories)
def test_both_count_the_same(story: tuple[list[Deed], Ending, float | None]) -> None:
    """Two implementations that share nothing agree on every count."""
    events = told(story)
    assert msgspec.structs.asdict(count(History(events))) == reference(events)


@settings(max_examples=examples(100))
@given(stories, st.randoms(use_true_random=False))
def test_the_order_of_the_lines_changes_no_count(
    story: tuple[list[Deed], Ending, float | None], random: Random
) -> None:
    """Files are read in any order; also events of one and the same moment."""
    events = told(story)
    coarse = [msgspec.structs.replace(event, mono_s=event.mono_s // 2) for event in events]
    for version in (events, coarse):
        shuffled = list(version)
        random.shuffle(shuffled)
        assert count(History(shuffled)) == count(History(version))


@settings(max_examples=examples(100))
@given(stories, st.floats(-1e9, 1e9))
def test_the_wall_clock_changes_no_count(
    story: tuple[list[Deed], Ending, float | None], shift_s: float
) -> None:
    """``at_s`` is for people."""
    events = told(story)
    shifted = [msgspec.structs.replace(event, at_s=event.at_s + shift_s) for event in events]
    assert count(History(shifted)) == count(History(events))


@settings(max_examples=examples(100))
@given(stories, st.sampled_from(MESSAGES), st.sampled_from(["cut off", "ended"]))
def test_one_more_run_never_takes_a_duplicate_away(
    story: tuple[list[Deed], Ending, float | None], message: tuple[str, int], how: str
) -> None:
    """A further execution, in a process of its own, lowers neither the duplicates nor the
    completed, the overlapping or the unexpected; and loses nothing."""
    events = told(story)
    before = count(History(events))
    more = Story()
    more.events = list(events)
    more.wait(1000).received(message[0], "worker-3", retries=message[1])
    more.started(message[0], "worker-3", pid=31, retries=message[1])
    if how == "ended":
        more.finished(message[0], "worker-3", pid=31, retries=message[1])
    after = more.counts()
    assert after.duplicate_executions >= before.duplicate_executions
    assert after.overlapping_executions >= before.overlapping_executions
    assert after.completed >= before.completed
    assert after.unexpected >= before.unexpected
    assert after.lost <= before.lost


@settings(max_examples=examples(100))
@given(stories)
def test_every_message_has_at_most_one_fate(
    story: tuple[list[Deed], Ending, float | None],
) -> None:
    """Publishes split three ways; completed, lost and stranded exclude each other."""
    counts = count(History(told(story)))
    assert counts.attempted == counts.confirmed + counts.rejected + counts.indeterminate
    assert counts.completed + counts.lost + counts.stranded <= counts.attempted
    assert counts.overlapping_executions <= counts.duplicate_executions
    assert counts.late <= counts.completed

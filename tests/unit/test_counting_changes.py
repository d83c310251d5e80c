"""Changes of a history of which it is known what they may do to the counts: nothing, one more,
or twice as many."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import counting
from harness.counting import count
from harness.history import History
from harness.model import MARKER_TASK, Counts, Event, MessageId
from tests.histories import CHILD, WORKER, Story
from tests.searching import examples
from tests.stories import MESSAGES, Tale, stories, told

AFTER_ALL_S = 10_000.0


def numbers(counts: Counts) -> dict[str, int | None]:
    return msgspec.structs.asdict(counts)


def renamed(event: Event, text: str, shift: int) -> Event:
    """The same event of another task, process and worker; also where its data names them."""
    data = dict(event.data)
    if event.kind == "process_exited":
        data |= {"name": f"{data['name']}{text}", "pid": int(str(data["pid"])) + shift}
    if event.kind == "broker_final":
        view = msgspec.to_builtins(data["view"])
        held = [{**one, "task_id": f"{one['task_id']}{text}"} for one in view["held"]]
        data["view"] = {**view, "held": held}
    return msgspec.structs.replace(
        event,
        task_id=event.task_id and event.task_id + text,
        role=event.role + text,
        pid=event.pid + shift,
        data=data,
    )


@settings(max_examples=examples(100))
@given(stories)
def test_names_are_only_names(story: Tale) -> None:
    """Other ids, pids and workers, the same throughout: the same counts, times and fates."""
    events = told(story)
    before, after = History(events), History([renamed(event, "-x", 7) for event in events])
    assert count(after) == count(before)
    assert counting.timings(after) == counting.timings(before)
    renamed_too = {
        MessageId(f"{task_id}-x", retries): fate
        for (task_id, retries), fate in counting.fates(before).items()
    }
    assert counting.fates(after) == renamed_too


@settings(max_examples=examples(100))
@given(stories)
def test_twice_the_same_is_twice_as_many(story: Tale) -> None:
    """A copy under fresh ids, in workers of its own, at the same time: every count doubles. What
    the broker holds of both is one answer of one broker."""
    events = told(story)
    copies = [renamed(event, "-x", 7) for event in events]
    finals = [event for event in (*events, *copies) if event.kind == "broker_final"]
    both = [event for event in (*events, *copies) if event.kind != "broker_final"]
    if finals:
        one, other = (msgspec.to_builtins(event.data["view"]) for event in finals)
        view = {
            **one,
            "ready": one["ready"] + other["ready"],
            "unacked": one["unacked"] + other["unacked"],
            "held": [*one["held"], *other["held"]],
        }
        both.append(msgspec.structs.replace(finals[0], data={"view": view}))
    before = numbers(count(History(events)))
    doubled = {name: None if n is None else 2 * n for name, n in before.items()}
    assert numbers(count(History(both))) == doubled


@settings(max_examples=examples(100))
@given(stories, st.integers(0, 60), st.sampled_from(["received", "started", "finished", "acked"]))
def test_a_marker_anywhere_changes_nothing(story: Tale, where: int, kind: str) -> None:
    """Whatever the marker task does, in whichever process, even in one that has died. What is
    shown of time may start or end with it where nothing else does."""
    events = told(story)
    place = events[min(where, len(events) - 1)]
    marker = Event(
        kind=kind,
        at_s=place.at_s,
        mono_s=place.mono_s,
        pid=CHILD,
        role=WORKER,
        task_id="a",
        task=MARKER_TASK,
        data={"state": "SUCCESS"},
    )
    with_it = History([*events, marker])
    assert count(with_it) == count(History(events))
    assert counting.timings(with_it) == counting.timings(History(events))


@settings(max_examples=examples(100))
@given(stories, st.randoms(use_true_random=False))
def test_how_the_lines_are_spread_over_files_changes_nothing(story: Tale, random: Random) -> None:
    """Each process a file, one file for all, or many: read one after the other."""
    events = told(story)
    files: list[list[Event]] = [[], [], []]
    for event in events:
        random.choice(files).append(event)
    random.shuffle(files)
    read = History([event for file in files for event in file])
    assert read.events == History(events).events
    assert count(read) == count(History(events))


@settings(max_examples=examples(100))
@given(stories, st.integers(-1_000_000, 1_000_000))
def test_when_the_machine_was_started_changes_nothing(story: Tale, shift_s: int) -> None:
    """The monotonic clock has no zero that means anything."""
    events = told(story)
    later = [msgspec.structs.replace(event, mono_s=event.mono_s + shift_s) for event in events]
    assert count(History(later)) == count(History(events))
    assert counting.timings(History(later)) == counting.timings(History(events))


@settings(max_examples=examples(200))
@given(stories, st.integers(0, 10))
def test_an_end_that_was_not_written_loses_nothing_less(story: Tale, which: int) -> None:
    """Without one of the ends, no more messages are completed, and no fewer are open."""
    events = told(story)
    ends = [index for index, event in enumerate(events) if event.data.get("state") == "SUCCESS"]
    if not ends:
        return
    at = ends[which % len(ends)]
    before, after = count(History(events)), count(History([*events[:at], *events[at + 1 :]]))
    assert after.completed <= before.completed
    assert after.lost + after.stranded >= before.lost + before.stranded


@settings(max_examples=examples(100))
@given(stories)
def test_one_more_message_that_went_well(story: Tale) -> None:
    """Published, run once and acknowledged, in a worker of its own: one more attempted,
    confirmed and completed, and every other count is as it was."""
    events = told(story)
    more = Story()
    more.events = list(events)
    more.wait(AFTER_ALL_S).publish("good").runs("good", "worker-9", pid=91)
    good = more.events[len(events) :]
    early = [msgspec.structs.replace(event, mono_s=event.mono_s - AFTER_ALL_S) for event in good]
    before = numbers(count(History(events)))
    grown = dict.fromkeys(("attempted", "confirmed", "completed"), 1)
    expected = {name: None if n is None else n + grown.get(name, 0) for name, n in before.items()}
    for added in (good, early):
        assert numbers(count(History([*events, *added]))) == expected


@settings(max_examples=examples(100))
@given(stories, st.sampled_from(MESSAGES))
def test_what_was_seen_with_the_broker_is_not_lost(story: Tale, message: tuple[str, int]) -> None:
    """Held at the end as well: it is not lost, no count of runs changes, and what was completed
    is now pending."""
    events = [event for event in told(story) if event.kind != "broker_final"]
    gone, there = Story(), Story()
    for one in (gone, there):
        one.events = list(events)
        one.wait(AFTER_ALL_S)
    gone.broker_holds()
    there.broker_holds(there.ready(*message))
    before, after = gone.history(), there.history()
    assert MessageId(*message) not in counting.lost(after)
    assert counting.duplicates(after) == counting.duplicates(before)
    assert counting.completed(after) == counting.completed(before)
    if MessageId(*message) in counting.completed(after):
        assert list(counting.redelivery_pending(after)) == [MessageId(*message)]

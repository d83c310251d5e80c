"""What the probe says of tasks that belong together, and of the values that go between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.follower import Follower
from harness.model import Event

PROBE = Path(harness.__file__).parent / "probe"

SHOP = """
import json
from celery import Celery, chain, chord, group
app = Celery("shop", broker="memory://", backend="cache+memory://")
app.conf.task_protocol = {protocol}
app.conf.task_serializer = app.conf.result_serializer = {serializer!r}
app.conf.accept_content = ["json", "pickle"]
@app.task(name="shop.a")
def a(*given): return given
@app.task(name="shop.b")
def b(*given): return given
"""


def run(folder: Path, code: str, *, protocol: int = 2, serializer: str = "json") -> str:
    """Runs ``code`` after the shop's in a process that has the probe; gives its output."""
    (folder / "events").mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PROBE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ACKPROOF_EVENTS": str(folder / "events"),
    }
    done = subprocess.run(
        [sys.executable, "-c", SHOP.format(protocol=protocol, serializer=serializer) + code],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def events(folder: Path, kind: str) -> list[Event]:
    found = sorted(Follower(folder / "events").poll(), key=lambda event: event.mono_s)
    return [event for event in found if event.kind == kind]


def published(folder: Path) -> list[dict[str, Any]]:
    """What each publish said beyond its own id, without what names only the tree as a whole."""
    return [
        {n: v for n, v in e.data.items() if n not in {"root_id", "group"}} | {"id": e.task_id}
        for e in events(folder, "publish_invoke")
    ]


both = pytest.mark.parametrize("protocol", [1, 2])


@both
@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_header_names_the_body_of_its_chord(
    tmp_path: Path, protocol: int, serializer: str
) -> None:
    """In both protocols, whatever the body is written in; with its place among the headers."""
    code = "chord([a.s(1).set(task_id='x'), a.s(2).set(task_id='y')])(b.s(), task_id='body')"
    run(tmp_path, code, protocol=protocol, serializer=serializer)
    assert published(tmp_path) == [
        {"id": "x", "group_index": 0, "chord": "body"},
        {"id": "y", "group_index": 1, "chord": "body"},
    ]
    assert len({event.data["group"] for event in events(tmp_path, "publish_invoke")}) == 1


def test_what_a_chords_body_can_be(tmp_path: Path) -> None:
    """Of a chain the first task receives the results; an immutable body is given none; a group
    cannot be followed."""
    run(
        tmp_path,
        """
for body in (chain(b.s().set(task_id="first"), a.s()), b.si(), group(a.s(), b.s())):
    chord([a.s(1), a.s(2)])(body)
""",
    )
    chained, _, immutable, _, grouped, _ = published(tmp_path)
    assert (chained["chord"], "chord_takes_nothing" in chained) == ("first", False)
    assert immutable["chord_takes_nothing"] is True
    assert grouped["chord_is"] == "group"


@both
def test_a_task_names_what_follows_it(tmp_path: Path, protocol: int) -> None:
    """The next of its chain, whatever the protocol keeps it in; and only the next."""
    code = "chain(a.s(1), *[b.s().set(task_id=name) for name in 'xyz'])()"
    run(tmp_path, code, protocol=protocol)
    (first,) = published(tmp_path)
    assert first["follows"] == ["x"]


def test_what_else_can_follow(tmp_path: Path) -> None:
    """A group in a chain: all its tasks. A callback: where it has an id."""
    run(
        tmp_path,
        """
chain(a.s(1), group(b.s().set(task_id="x"), b.s().set(task_id="y")), a.s())()
a.apply_async((1,), link=[b.s().set(task_id="z"), b.s()])
a.delay(1)
""",
    )
    fan, link, alone = published(tmp_path)
    assert fan["follows"] == ["x", "y"]
    assert link["follows"] == ["z"]
    assert alone == {"id": alone["id"]}


def test_a_signature_that_cannot_be_read(tmp_path: Path) -> None:
    """The message goes out all the same, and the event says so."""
    run(
        tmp_path,
        """
from ackproof_probe import canvas
a.apply_async((1,), task_id="odd", chord={"options": 5})
for message in (None, (), ({}, {}, {}, None), ({"id": "x"}, {}, ((), {}, {"chain": [3]}), None)):
    assert isinstance(canvas.of(message), dict)
""",
    )
    (odd,) = published(tmp_path)
    assert odd["canvas_unread"].startswith("AttributeError")
    assert events(tmp_path, "publish_ok")


def test_a_task_that_replaces_itself_keeps_its_id(tmp_path: Path) -> None:
    """The task in its place is published under the same id, and says that it is another."""
    run(
        tmp_path,
        """
@app.task(name="shop.stand_in", bind=True)
def stand_in(self): return self.replace(a.s(1))
from celery.contrib.testing.worker import start_worker
app.loader.import_task_module("celery.contrib.testing.tasks")
with start_worker(app, perform_ping_check=False, pool="solo"):
    stand_in.apply_async(task_id="one").get(timeout=20)
""",
    )
    first, second = (one for one in published(tmp_path) if one["id"] == "one")
    assert "nesting" not in first
    assert second["nesting"] == 1


ROUND_TRIPS = """
import datetime, decimal, enum, uuid
from ackproof_probe.digests import digest
class Colour(str, enum.Enum): RED = "red"
class Reduced:
    def __json__(self): return {"b": 1, "a": (2,)}
values = [
    None, True, 1, 1.5, float("nan"), "text", "\\ud83d", [], (1, (2, [3])), {"b": 1, "a": 2},
    {1: "x", "b": None, True: 2}, "x" * 5000, [["y" * 300]] * 3, 10**40, b"bytes", b"\\xff\\x00",
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6), datetime.date(2026, 1, 2), datetime.time(3, 4),
    datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), decimal.Decimal("1.10"),
    uuid.UUID(int=7), Colour.RED,
]
if app.conf.result_serializer == "json":
    values += [Reduced()]
found = []
for number, value in enumerate(values):
    app.backend.store_result(str(number), value, "SUCCESS")
    back = app.AsyncResult(str(number)).result
    found.append([digest(value), digest(back)])
print(json.dumps(found))
"""


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_value_and_what_comes_back_for_it_have_one_digest(
    tmp_path: Path, serializer: str
) -> None:
    """Tuples, keys that are numbers, dates, bytes, what reduces itself; short and long."""
    found = json.loads(run(tmp_path, ROUND_TRIPS, serializer=serializer))
    assert [one for one in found if one[0] != one[1]] == []
    digests = [one[0] for one in found]
    assert len(set(digests)) == len(digests)
    assert not any(one.startswith("opaque:") for one in digests)
    assert all(len(one) <= 200 for one in digests)


def test_what_json_does_not_hold_is_opaque(tmp_path: Path) -> None:
    """A set, an object, a circle, something huge, one that fights back: never an error."""
    code = """
from ackproof_probe.digests import digest
class Bad:
    def __repr__(self): raise RuntimeError
    __json__ = __str__ = __repr__
circle = []; circle.append(circle)
print([digest(value) for value in ({1}, object(), circle, "x" * 1_000_001, Bad(), {(1, 2): 3})])
"""
    kinds = ["set", "object", "list", "1000003 characters", "Bad", "dict"]
    assert run(tmp_path, code).strip() == str([f"opaque:{kind}" for kind in kinds])


def test_what_a_task_was_given_and_what_it_gave(tmp_path: Path) -> None:
    """A first argument that is a list, an element at a time and not without end; of a chord's
    header, its result."""
    run(
        tmp_path,
        """
a.apply(([1, (2,), "x"], 5), task_id="list")
a.apply(("x",), task_id="text")
a.apply((list(range(2000)),), task_id="long")
from celery._state import _task_stack
a.push_request(id="header", chord=b.s())
_task_stack.push(a)
app.backend.mark_as_done("header", ([1, (2,), "x"], 5))
""",
    )
    started = {event.task_id: event.data for event in events(tmp_path, "started")}
    assert started["list"]["first_argument"] == ["1", "[2]", '"x"']
    assert started["list"]["first_argument_number"] == 3
    assert started["list"]["first_argument_lists"] == 1
    assert "first_argument" not in started["text"]
    assert len(started["long"]["first_argument"]) == 1000  # type: ignore[arg-type]
    assert started["long"]["first_argument_number"] == 2000
    returned = {event.task_id: event.data for event in events(tmp_path, "returned")}
    assert returned["header"]["result"] == '[[1,[2],"x"],5]'
    assert "result" not in returned["list"]

"""Reading what the probes write, while they write it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.follower import Follower
from harness.model import Event


def line(task_id: str, **data: object) -> bytes:
    """What a probe writes for one event."""
    event = Event(
        kind="started",
        at_s=1.0,
        mono_s=2.0,
        pid=3,
        role="worker-1",
        task_id=task_id,
        data=data,
    )
    return msgspec.json.encode(event) + b"\n"


def append(file: Path, text: bytes) -> None:
    with file.open("ab") as stream:
        stream.write(text)


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    return Follower(tmp_path)


def new(follower: Follower) -> list[str]:
    return [event.task_id for event in follower.poll()]


def test_nothing_yet(follower: Follower, tmp_path: Path) -> None:
    """An empty folder, and an empty file, hold no events."""
    assert follower.poll() == []
    (tmp_path / "1.jsonl").touch()
    assert follower.poll() == []


def test_each_event_once(follower: Follower, tmp_path: Path) -> None:
    """A file that grows is read from where it was left."""
    file = tmp_path / "1.jsonl"
    append(file, line("a") + line("b"))
    assert new(follower) == ["a", "b"]
    assert new(follower) == []
    append(file, line("c"))
    assert new(follower) == ["c"]


def test_a_torn_line_is_left_until_it_is_whole(follower: Follower, tmp_path: Path) -> None:
    """However it is cut, and with whole lines before it."""
    file = tmp_path / "1.jsonl"
    whole = line("b")
    append(file, line("a") + whole[:1])
    assert new(follower) == ["a"]
    for byte in whole[1:-1]:
        append(file, bytes([byte]))
        assert new(follower) == []
    append(file, whole[-1:] + line("c")[:20])
    assert new(follower) == ["b"]


def test_a_line_torn_by_a_death_is_no_event(follower: Follower, tmp_path: Path) -> None:
    """It stays in its file; the files of other processes are read on."""
    append(tmp_path / "1.jsonl", line("a") + line("b")[:-1])
    assert new(follower) == ["a"]
    append(tmp_path / "2.jsonl", line("c"))
    assert new(follower) == ["c"]
    assert new(follower) == []


def test_new_files_are_found(follower: Follower, tmp_path: Path) -> None:
    """Every process that comes up writes its own; other files are nobody's business."""
    append(tmp_path / "1.jsonl", line("a"))
    assert new(follower) == ["a"]
    append(tmp_path / "2.jsonl", line("b"))
    append(tmp_path / "note.txt", b"not JSON\n")
    append(tmp_path / "1.jsonl", line("c"))
    assert sorted(new(follower)) == ["b", "c"]


def test_a_huge_file(follower: Follower, tmp_path: Path) -> None:
    """Fifty thousand events at once, one of them a megabyte long."""
    ids = [str(number) for number in range(50_000)]
    text = b"".join(map(line, ids)) + line("big", text="x" * 1_000_000)
    append(tmp_path / "1.jsonl", text)
    assert new(follower) == [*ids, "big"]
    assert new(follower) == []


def test_any_text_comes_through(follower: Follower, tmp_path: Path) -> None:
    """Line ends of other alphabets inside a text are no line ends."""
    said = "a\u2028b\x85c\r\nd \U0001f600"
    append(tmp_path / "1.jsonl", line("a", text=said))
    (event,) = follower.poll()
    assert event.data["text"] == said

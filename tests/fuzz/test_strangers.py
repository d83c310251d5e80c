"""What comes from anybody (run folders, workload files, command lines), broken at random: one line
and a status, or an answer; never a traceback, a hang, or anything read or run besides.

Seeded: the same breakages each time; ``ACKPROOF_FUZZ_SEED`` starts elsewhere. In ``make full``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from harness import workload
from harness.cli import main
from harness.model import UsageError
from tests.engine.test_cli import stored_run

pytestmark = pytest.mark.full

SEED = int(os.environ.get("ACKPROOF_FUZZ_SEED", "1"))
RUNS, WORKLOADS, COMMANDS = 2_000, 500, 200
BATCHES = 20
LONGEST_S = 20.0
DEEPER = 0.8
STATUSES = {0, 1, 2, 3}
ODD: list[object] = [
    None,
    True,
    0,
    -1,
    1e308,
    2**70,
    "",
    "x" * 5000,
    "\x1b[31m\x00\u202e",
    "../../../etc/passwd",
    [],
    {},
    [[[[[[]]]]]],
    {"__class__": "os:system"},
    "os:system",
]


def dice(name: str) -> Random:
    """Of one breakage, by its name."""
    return Random(f"{SEED}-{name}")  # noqa: S311


def broken_value(random: Random, value: object) -> object:
    """A value with one thing in it changed, taken away, or put there."""
    if isinstance(value, dict | list) and value and random.random() < DEEPER:
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
        at = random.randrange(len(pairs))
        key, inner = pairs[at]
        match random.randrange(4):
            case 0:
                del pairs[at]
            case 1:
                pairs.append((f"{key}x", random.choice(ODD)))
            case _:
                pairs[at] = key, broken_value(random, inner)
        return dict(pairs) if isinstance(value, dict) else [inner for _, inner in pairs]
    return random.choice(ODD)


def broken_bytes(random: Random, packed: bytes) -> bytes:
    """A file with a bit turned over, a piece cut off, doubled, or put somewhere else."""
    at, to = sorted(random.randrange(len(packed) + 1) for _ in range(2))
    match random.randrange(4):
        case 0:
            return packed[:at]
        case 1:
            return packed[:at] + packed[to:]
        case 2:
            return packed[:to] + packed[at:]
        case _:
            return packed[:at] + bytes([random.randrange(256)]) + packed[at + 1 :]


def broken_file(random: Random, file: Path) -> None:
    """One file of a run: as text, as JSON, or as a file."""
    text = file.read_bytes()
    match random.randrange(24):
        case 0:
            file.unlink()
        case 1:
            file.unlink()
            file.symlink_to(random.choice(["/etc/passwd", "/dev/zero", str(file), "nowhere"]))
        case 2:
            file.unlink()
            os.mkfifo(file)
        case 3:
            file.unlink()
            file.mkdir()
        case 4 | 5 | 6 | 7 | 8:
            file.write_bytes(broken_bytes(random, text))
        case _ if file.suffix == ".jsonl":
            lines = text.splitlines()
            at = random.randrange(len(lines))
            lines[at] = json.dumps(broken_value(random, json.loads(lines[at]))).encode()
            file.write_bytes(b"\n".join(lines) + b"\n")
        case _:
            file.write_text(json.dumps(broken_value(random, json.loads(text))))


def status_of(words: list[str]) -> int:
    began_s = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert time.monotonic() - began_s < LONGEST_S, words
    code = ended.value.code
    return code if isinstance(code, int) else 0


WATCHED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
_seen: list[str] = []
_watching = threading.Event()


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _watching.is_set():
        return
    if event == "open" and "/etc/passwd" in str(arguments[0]):
        _seen.append(f"read {arguments[0]}")
    elif event in WATCHED:
        _seen.append(f"{event} {arguments[:1]}")


sys.addaudithook(_audit)


@pytest.fixture
def watched() -> Iterator[None]:
    """Nothing outside is read, and nothing is run."""
    _seen.clear()
    _watching.set()
    try:
        yield
    finally:
        _watching.clear()
    assert _seen == []


def one_line(captured: pytest.CaptureFixture[str], status: int, what: object) -> None:
    out, err = captured.readouterr()
    assert status in STATUSES, what
    assert "Traceback" not in out + err, (what, err)
    assert not any(ord(c) < 32 and c not in "\n\t" for c in out + err), what
    if status == 3:
        (line,) = err.splitlines()
        assert line.startswith("ackproof: "), (what, err)


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("batch", range(BATCHES))
def test_run_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str], batch: int) -> None:
    """``judge`` answers 0 only for a whole one that holds."""
    whole = stored_run(tmp_path / "whole")
    for number in range(RUNS // BATCHES):
        random = dice(f"{batch}-{number}")
        run = tmp_path / "run"
        shutil.copytree(whole, run)
        for file in random.sample(sorted(run.rglob("*.json*")), random.choice([1, 1, 2])):
            broken_file(random, file)
        status = status_of(["judge", str(run)])
        one_line(capsys, status, (SEED, batch, number))
        shutil.rmtree(run)


WORKLOAD = (Path(__file__).parents[2] / "workloads/ledger/workload.toml").read_text()
VALUES = {
    "name": "worker-1",
    "pool": "prefork",
    "concurrency": 1,
    "tasks": 1,
    "task_duration_s": 1.0,
    "trial_dir": "/x",
}
PIECES = ("{", "}", "{0}", "{name.__class__}", "{name!r:>9}", "'", '"', "\\", "\x00", "$(id)", "= ")


@pytest.mark.usefixtures("watched")
def test_workload_files(tmp_path: Path) -> None:
    """Read, and its commands filled in: an answer, or a UsageError in one line."""
    refused: list[str] = []
    for number in range(WORKLOADS):
        random = dice(f"workload-{number}")
        text = WORKLOAD
        for _ in range(random.choice([1, 2, 3])):
            at = random.randrange(len(text) + 1)
            piece = random.choice((*PIECES, text[at : at + 40]))
            text = text[:at] + piece + text[at + random.choice([0, 1, 10]) :]
        (tmp_path / "workload.toml").write_text(text, errors="replace")
        try:
            app = workload.load(str(tmp_path), tmp_path)
            values = {**app.options, **VALUES}
            for template in (app.worker, app.producer, app.effects):
                app.command(template, values)
            app.environment(values)
        except UsageError as error:
            refused.append(str(error))
    assert refused
    assert [told for told in refused if "\n" in told] == []


WORDS: tuple[str, ...] = (
    *("judge", "diff", "steps", "doctor", "study", "check", "--json", "--help", "--", "-h"),
    *("--broker", "--profile", "--scenario", "--pool", "--python", "--seed", "--jobs", "--out"),
    *("redis", "nats", "-1", "0", "x", "", "\x1b[2J", "/etc/passwd", "none.py", "a\nb", "\ud800"),
    *("--unknown-tries", "99999999999999999999", "/dev/null", "*", "--=", "--broker=", "--x=y"),
)


def test_command_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, or answered. None of them starts a run: there is no scenario where they stand."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for number in range(COMMANDS):
        random = dice(f"command-{number}")
        words = [random.choice(WORDS) for _ in range(random.randrange(6))]
        if {"study", "check"} & set(words):
            words.append("empty")
        status = status_of(words)
        out, err = capsys.readouterr()
        assert status in STATUSES, words
        assert "Traceback" not in out + err, (words, err)

"""The command line without a run: what is wrong is said in one line, with status 3."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from harness import bundle
from harness.checks.no_lost_tasks import no_lost_tasks
from harness.cli import exit_status, main
from harness.model import Counts, Outcome
from harness.record import SCHEMA, RunRecord, Timings, TrialRecord
from harness.reporting import run_json
from harness.scenario import Scenario
from harness.trial import Plan, judged
from tests.histories import Story

HOLDS, BROKEN, UNKNOWN = Outcome.HOLDS, Outcome.BROKEN, Outcome.UNKNOWN


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def line(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line with which it refuses; nothing was made."""
    before = sorted(Path.cwd().rglob("*"))
    with pytest.raises(SystemExit) as end:
        main(list(words))
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (3, "")
    (line,) = said.err.splitlines()
    assert sorted(Path.cwd().rglob("*")) == before
    return line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("study", "--broker", "reddis"), "there is no broker 'reddis'. Did you mean redis?"),
        (
            ("check", "--broker", "kafka"),
            "there is no broker 'kafka'. There are rabbitmq, redis",
        ),
        (("study", "--profile", "harden"), "there is no profile 'harden'. Did you mean hardened?"),
        (("study", "--profile", "x"), "there is no profile 'x'. There are default, acks_late"),
        (("study", "--scenario", "clam"), "there is no scenario 'clam'. Did you mean calm?"),
        (("check", "--scenario", "zzz"), "there is no scenario 'zzz'. There are calm, canary"),
        (("check", "none.py"), "no such scenario file or folder: none.py"),
        (("check", "."), "no scenario files (test_*.py) there"),
        (("study", "--jobs", "0"), "Invalid value for '--jobs': 0 is not in the range x>=1."),
        (("study", "--seed", "x"), "Invalid value for '--seed': 'x' is not a valid integer."),
        (("study", "--brokr", "redis"), "--brokr"),
        (("stdy",), "No such command 'stdy'."),
        (("judge",), "Missing argument 'RUN'."),
        (("judge", "none"), "none"),
        (("judge", "."), "run.json"),
    ],
)
def test_what_it_refuses(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    """Names that do not exist, with the near ones; options; files."""
    told = line(capsys, *words)
    assert told.startswith("ackproof: ")
    assert said in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "torn or not JSON"),
        ('{"schema": "ackproof/run/1", "run_id', "torn or not JSON"),
        ('{"schema": "other/9"}', "has schema 'other/9'"),
        ('{"schema": "ackproof/run/1"}', "is not a run's record"),
    ],
)
def test_judging_what_is_no_run(capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    """A record that is torn, or another's."""
    Path("run").mkdir()
    Path("run/run.json").write_text(text)
    assert said in line(capsys, "judge", "run")


def record(*outcomes: Outcome, expected: Outcome = HOLDS, **told: list[str]) -> RunRecord:
    trials = [
        TrialRecord(
            id=f"calm-redis-{number}",
            scenario="calm",
            broker="redis",
            profile="default",
            settings={},
            faults=[],
            counts=Counts(),
            timings=Timings(),
            verdict=outcome,
            reasons=[],
            bundle=f"trials/calm-redis-{number}",
            expected=expected,
        )
        for number, outcome in enumerate(outcomes)
    ]
    run = RunRecord(SCHEMA, "id", 7, 1.0, {}, trials)
    return msgspec.structs.replace(run, **told)


def test_judging_a_run_whose_trials_are_gone(capsys: pytest.CaptureFixture[str]) -> None:
    """The record is there, the histories are not."""
    Path("run").mkdir()
    Path("run/run.json").write_bytes(msgspec.json.encode(record(HOLDS)))
    assert "run/trials/calm-redis-0 is not a whole trial" in line(capsys, "judge", "run")


@pytest.mark.parametrize(
    ("run", "status"),
    [
        (record(), 0),
        (record(HOLDS, HOLDS), 0),
        (record(HOLDS, UNKNOWN), 2),
        (record(UNKNOWN, BROKEN), 1),
        (record(BROKEN, expected=BROKEN), 0),
        (record(HOLDS, expected=BROKEN), 1),
        (record(UNKNOWN, expected=UNKNOWN), 2),
        (record(HOLDS, not_run=["sqs: it is missing"]), 0),
        (record(HOLDS, not_run=["x: an error"], errors=["x: an error"]), 2),
        (record(HOLDS, failed=["an assertion"]), 1),
        (record(UNKNOWN, failed=["an assertion"]), 1),
    ],
)
def test_exit_status(run: RunRecord, status: int) -> None:
    """1 for a wrong verdict and for a test's own assertion; 2 for what is not known, also
    because of an error; a canary that holds is wrong; a part that is missing is no error."""
    assert exit_status(run) == status


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    """They are no errors."""
    for words in (["--help"], ["study", "-h"], ["--version"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        assert capsys.readouterr().out


def test_judging_a_trial_without_its_plan(capsys: pytest.CaptureFixture[str]) -> None:
    """Stored by something else, or edited by hand."""
    folder = Path("run/trials/calm-redis-0")
    folder.mkdir(parents=True)
    Path("run/run.json").write_bytes(msgspec.json.encode(record(HOLDS)))
    parts = ("scenario", "settings", "live_settings", "plan")
    stored: dict[str, object] = {part: {} for part in parts} | {"faults": [], "checks": []}
    (folder / "trial.json").write_bytes(msgspec.json.encode(stored))
    (folder / "history.jsonl").touch()
    told = line(capsys, "judge", "run")
    assert "calm-redis-0 is not a whole trial: " in told
    assert told.endswith("in its plan")


def stored_run(folder: Path, **changes: object) -> Path:
    """A run folder with one trial that holds, as ``check`` leaves it."""
    trial = folder / "trials" / "calm-redis-0"
    trial.mkdir(parents=True)
    plan = Plan(
        id=trial.name, name="calm", claim="", broker="redis", profile="own", seed=1, index=0
    )
    history = Story().publish("a").runs("a").ends().history()
    bundle.write(trial, plan, Scenario(checks=[no_lost_tasks()]), {}, {}, history)
    record = RunRecord(
        schema=SCHEMA,
        run_id=folder.name,
        seed=1,
        time_scale=1.0,
        versions={},
        trials=[judged(trial)],
    )
    run_json.write(msgspec.structs.replace(record, **changes), folder)
    return folder


def test_a_whole_run_that_holds_is_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Judged again, offline."""
    with pytest.raises(SystemExit) as ended:
        main(["judge", str(stored_run(tmp_path / "run"))])
    assert ended.value.code == 0, capsys.readouterr().err


def test_an_interrupted_run_is_never_zero(tmp_path: Path) -> None:
    """What there was holds, and it is not all there was to be."""
    with pytest.raises(SystemExit) as ended:
        main(["judge", str(stored_run(tmp_path / "run", complete=False))])
    assert ended.value.code == 2


@pytest.mark.parametrize("bundle_of", ["../elsewhere", "/etc", "trials/../../elsewhere"])
def test_nothing_outside_a_run_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bundle_of: str
) -> None:
    """A record may come from anybody."""
    stored_run(tmp_path / "elsewhere")
    run = stored_run(tmp_path / "run")
    (run / "run.json").write_text(
        (run / "run.json").read_text().replace("trials/calm-redis-0", bundle_of)
    )
    assert "leads out of it" in line(capsys, "judge", str(run))


def test_a_link_is_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor is a pipe read, for ever."""
    run = stored_run(tmp_path / "run")
    history = run / "trials" / "calm-redis-0" / "history.jsonl"
    history.rename(tmp_path / "history.jsonl")
    history.symlink_to(tmp_path / "history.jsonl")
    assert "history.jsonl is not a file" in line(capsys, "judge", str(run))
    history.unlink()
    os.mkfifo(history)
    assert "history.jsonl is not a file" in line(capsys, "judge", str(run))


@pytest.mark.parametrize("lacking", ["view", "why", "index"])
def test_a_damaged_history_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lacking: str
) -> None:
    """Of an event that lacks what it tells; never a traceback, whose status reads as broken."""
    run = stored_run(tmp_path / "run")
    kind = {"view": "broker_final", "why": "trial_error", "index": "fault_planned"}[lacking]
    event = {"kind": kind, "at_s": 1e9, "mono_s": 1e6, "pid": 1, "role": "harness"}
    with (run / "trials" / "calm-redis-0" / "history.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    assert f"cannot be judged: KeyError: '{lacking}'" in line(capsys, "judge", str(run))


@pytest.mark.parametrize("name", ["run.json", "trial.json", "history.jsonl"])
def test_a_key_that_stands_twice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Which of two values counts nobody can tell: one reader takes the first, another the last."""
    run = stored_run(tmp_path / "run")
    (file,) = run.rglob(name)
    text = file.read_text()
    file.write_text(text.replace("{", '{"kind": "x", "kind": "y", ', 1))
    assert "it has the key 'kind' twice" in line(capsys, "judge", str(run))


def test_what_is_nested_too_deeply_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No reader of ours may be made to recurse without end."""
    run = stored_run(tmp_path / "run")
    (run / "run.json").write_text("[" * 100_000)
    assert "is torn or not JSON" in line(capsys, "judge", str(run))

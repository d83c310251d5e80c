"""What can be wrong with what a user brings, or with the machine: one clear line, status 3,
and nothing left running. With the real command, from a folder of the user's own."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness import parts
from harness.model import MissingPartError
from harness.shortage import SEMAPHORES
from tests.live.command import ACKPROOF, Run, short_folder

SCENARIO = '''
"""Without a fault every task runs exactly once."""

from harness.checks.no_lost_tasks import no_lost_tasks
from harness.scenario import Scenario

SCENARIO = Scenario(workload="mine", tasks=2, task_duration_s=0.1, checks=[no_lost_tasks()])


def test_mine(run):
    run(SCENARIO).assert_holds()
'''
WORKLOAD = """
worker = "celery -A mine worker --pool {pool} --concurrency {concurrency}"
producer = "python produce.py {tasks}"
"""
APP = """
import time
from celery import Celery

app = Celery("mine")


@app.task
def work():
    time.sleep(0.1)
"""
PRODUCE = "import sys, mine\nfor _ in range(int(sys.argv[1])): mine.work.delay()\n"
UNKNOWN, CANNOT = 2, 3

Start = Callable[..., Run]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A user's folder: an app, its workload.toml and a scenario, in the working folder."""
    top = short_folder()
    mine = top / "cwd" / "mine"
    mine.mkdir(parents=True)
    (mine / "workload.toml").write_text(WORKLOAD)
    (mine / "mine.py").write_text(APP)
    (mine / "produce.py").write_text(PRODUCE)
    (top / "cwd" / "test_mine.py").write_text(SCENARIO)
    yield top
    shutil.rmtree(top, ignore_errors=True)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts a command there, and ends whatever is left of it after the test."""
    with ExitStack() as release:

        def start(*words: str, **env: str) -> Run:
            run = Run(folder, *words, env=env)
            release.callback(run.end)
            return run

        yield start


def check(start: Start, *words: str, **env: str) -> Run:
    """``ackproof check`` of the user's scenario, on Redis."""
    options = ("--broker=redis", "--jobs=1", "--out=../out")
    return start(ACKPROOF, "check", "test_mine.py", *options, *words, **env)


def refused(run: Run) -> str:
    """The one line with which it ended."""
    assert run.wait() == CANNOT, run.stdout + run.stderr
    run.gone()
    (line,) = run.stderr.splitlines()
    assert line.startswith("ackproof: ")
    assert "Traceback" not in run.stdout + run.stderr
    assert len(line) < 700
    return line.removeprefix("ackproof: ")


def test_the_users_folder_is_fine_as_it_is(start: Start, folder: Path) -> None:
    """The control for all that follows: an app of one's own is checked, and holds."""
    run = check(start)
    assert run.wait() == 0, run.stdout + run.stderr
    run.gone()
    (trial,) = run.report().trials
    assert trial.counts.completed == 2
    assert {path.name for path in folder.joinpath("cwd").iterdir()} <= {
        "mine",
        "test_mine.py",
        "__pycache__",
    }


# -- the app ------------------------------------------------------------------------------


def test_a_worker_that_exits_at_start(start: Start, folder: Path) -> None:
    """The last of what it said, its status, and where to read the rest."""
    toml = WORKLOAD.replace("celery -A mine worker", "python worker.py")
    (folder / "cwd/mine/workload.toml").write_text(toml)
    script = "print('warming up')\nraise RuntimeError('no licence for today')\n"
    (folder / "cwd/mine/worker.py").write_text(script)
    line = refused(check(start))
    assert line.startswith("worker-1 ended at start (pid ")
    assert "exited with status 1): RuntimeError: no licence for today (all of it: " in line
    log = Path(line.rpartition("all of it: ")[2].rstrip(")"))
    assert (folder / "cwd" / log).read_text().startswith("warming up")


def test_a_worker_that_finds_no_semaphores(start: Start, folder: Path) -> None:
    """The system's word names no file; the line does."""
    toml = WORKLOAD.replace("celery -A mine worker", "python worker.py")
    (folder / "cwd/mine/workload.toml").write_text(toml)
    script = "print('in SemLock')\nraise OSError(30, 'Read-only file system')\n"
    (folder / "cwd/mine/worker.py").write_text(script)
    line = refused(check(start))
    assert "OSError: [Errno 30] Read-only file system" in line
    assert line.endswith(f"keeps its semaphores in {SEMAPHORES}: it must be writable.")


def test_an_app_that_does_not_import(start: Start, folder: Path) -> None:
    """What Celery, or Python, says of it."""
    (folder / "cwd/mine/mine.py").write_text(f"import nosuchmodule\n{APP}")
    line = refused(check(start))
    assert "worker-1 ended at start" in line
    assert "No module named 'nosuchmodule'" in line


def test_a_worker_that_cannot_be_executed(start: Start, folder: Path) -> None:
    """The name of what is not there."""
    (folder / "cwd/mine/workload.toml").write_text(WORKLOAD.replace("celery", "celry"))
    line = refused(check(start))
    assert line == "cannot start worker-1: No such file or directory: celry"


def test_of_a_whole_study_in_which_no_worker_starts_the_reason_is_told_once(
    start: Start, folder: Path
) -> None:
    """One line, and a report that names every trial that did not run."""
    (folder / "cwd/mine/mine.py").write_text("raise RuntimeError('broken')\n")
    many = "\n\n".join(f"def test_{number}(run):\n    run(SCENARIO)" for number in range(10))
    (folder / "cwd/test_mine.py").write_text(f"{SCENARIO}\n\n{many}\n")
    options = ("--broker=redis", "--jobs=2", "--out=../out")
    run = start(ACKPROOF, "study", "test_mine.py", *options)
    line = refused(run)
    assert "RuntimeError: broken" in line
    assert len(run.report().not_run) == 22


def test_one_that_does_not_start_does_not_throw_the_others_away(start: Start, folder: Path) -> None:
    """It is named, with its reason; the others are judged; and the run is not green."""
    (folder / "cwd/bad").mkdir()
    (folder / "cwd/bad/workload.toml").write_text(WORKLOAD)
    (folder / "cwd/bad/mine.py").write_text("raise RuntimeError('broken')\n")
    (folder / "cwd/test_bad.py").write_text(SCENARIO.replace('"mine"', '"bad"'))
    run = start(ACKPROOF, "check", ".", "--broker=redis", "--jobs=1", "--out=../out")
    assert run.wait() == UNKNOWN, run.stdout + run.stderr
    record = run.report()
    assert [trial.verdict.value for trial in record.trials] == ["holds"]
    (why,) = record.not_run
    assert "RuntimeError: broken" in why
    assert "RuntimeError: broken" in run.stdout


ONCE = """
import sys, mine
from pathlib import Path

seen = Path("seen")
seen.write_text(seen.read_text() + "x" if seen.exists() else "x")
if len(seen.read_text()) <= {times}:
    raise SystemExit("not yet")
for _ in range(int(sys.argv[1])): mine.work.delay()
"""


def test_no_conclusion_is_tried_again(start: Start, folder: Path) -> None:
    """Its producer fails once, so the trial says nothing; the next one holds. Both are told."""
    (folder / "cwd/mine/produce.py").write_text(ONCE.format(times=1))
    run = check(start)
    assert run.wait() == 0, run.stdout + run.stderr
    (trial,) = run.report().trials
    (earlier,) = trial.tries
    assert "the producer failed" in earlier.reasons[0]
    assert "not yet" in earlier.reasons[0]
    assert "try 1 of 2 was unknown: the producer failed" in run.stdout
    assert len(list(run.out.glob("*/trials/*"))) == 2
    assert (run.out / run.report().run_id / earlier.bundle / "history.jsonl").exists()


def test_no_conclusion_in_so_many_tries_is_unknown(start: Start, folder: Path) -> None:
    """As often as was asked for, and no more."""
    (folder / "cwd/mine/produce.py").write_text(ONCE.format(times=99))
    run = check(start, "--unknown-tries=1")
    assert run.wait() == UNKNOWN, run.stdout + run.stderr
    (trial,) = run.report().trials
    assert len(trial.tries) == 1
    assert (folder / "cwd/mine/seen").read_text() == "xx"


def test_a_conclusion_is_never_tried_again(start: Start, folder: Path) -> None:
    """A broken trial that holds the next time is what a gate is there to find."""
    text = SCENARIO.replace("no_lost_tasks()]", "duplicate_executions_at_most(-1)]")
    text = text.replace("no_lost_tasks", "duplicate_executions_at_most")
    (folder / "cwd/test_mine.py").write_text(text)
    run = check(start, "--unknown-tries=9")
    assert run.wait() == 1, run.stdout + run.stderr
    assert len(list(run.out.glob("*/trials/*"))) == 1


def test_a_wrong_key(start: Start, folder: Path) -> None:
    """In workload.toml: the file, the key, and the near one. No server is started for it."""
    (folder / "cwd/mine/workload.toml").write_text(WORKLOAD.replace("producer", "producr"))
    run = check(start)
    line = refused(run)
    assert "mine/workload.toml: " in line
    assert line.endswith("Did you mean producer?")


def test_a_workload_that_is_not_there(start: Start, folder: Path) -> None:
    """What it was called, and what one is."""
    (folder / "cwd/mine/workload.toml").unlink()
    assert refused(check(start)).startswith("no workload 'mine'. A workload is a folder")


# -- the scenario -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def test_mine(run):\n    run(\n", "test_mine.py: SyntaxError: '(' was never closed"),
        ("import nosuch\n", "test_mine.py: ModuleNotFoundError: No module named 'nosuch'"),
        (
            SCENARIO.replace("tasks=2", "tusks=2"),
            "test_mine.py: TypeError: Scenario.__init__() got an unexpected keyword argument",
        ),
        ("def test_mine():\n    pass\n", "there is nothing to run in test_mine.py. A scenario is"),
        ("X = 1\n", "there is nothing to run in test_mine.py. A scenario is"),
    ],
    ids=["syntax", "import", "argument", "no scenario", "no test"],
)
def test_a_scenario_file_that_is_wrong(start: Start, folder: Path, text: str, said: str) -> None:
    """The file, and the error; or what a scenario is."""
    (folder / "cwd/test_mine.py").write_text(text)
    run = check(start)
    assert refused(run).startswith(said)
    assert not run.out.exists() or not list(run.out.glob("*/trials"))


def test_a_file_of_many_that_is_wrong(start: Start, folder: Path) -> None:
    """The others are not run: a gate of which a part is missing is no gate."""
    (folder / "cwd/test_wrong.py").write_text("def")
    line = refused(start(ACKPROOF, "check", ".", "--broker=redis", "--jobs=1", "--out=../out"))
    assert line.startswith("test_wrong.py: SyntaxError: invalid syntax")


def test_an_assertion_of_ones_own(start: Start, folder: Path) -> None:
    """A trial that holds, in a test that fails: broken, status 1, and it is said why."""
    own = "result = run(SCENARIO)\n    assert result.record.counts.completed == 77\n"
    (folder / "cwd/test_mine.py").write_text(SCENARIO.replace("run(SCENARIO).assert_holds()", own))
    run = check(start)
    assert run.wait() == 1, run.stdout + run.stderr
    (told,) = [line for line in run.stdout.splitlines() if line.startswith("failed: ")]
    assert told.startswith("failed: test_mine.py::test_mine[redis-hardened]: AssertionError")
    assert re.search(r"\(test_mine\.py:\d+\)$", told)


def test_an_error_of_ones_own(start: Start, folder: Path) -> None:
    """A test that stumbles before its trial proves nothing: status 2, and it is said why."""
    (folder / "cwd/test_mine.py").write_text(
        f"{SCENARIO}\n\ndef test_other(run):\n    raise KeyError('other')\n"
    )
    run = check(start)
    assert run.wait() == 2, run.stdout + run.stderr
    assert "not run: other[redis-hardened]: KeyError: 'other' (test_mine.py:" in run.stdout


# -- the machine --------------------------------------------------------------------------


def test_a_missing_server_that_was_asked_for(start: Start) -> None:
    """What is missing and how to get it, before anything is started."""
    line = refused(check(start, ACKPROOF_REDIS_SERVER="/nonexistent"))
    assert line == (
        "ACKPROOF_REDIS_SERVER names /nonexistent, which is not an executable file. "
        "Correct or unset ACKPROOF_REDIS_SERVER"
    )


def test_missing_servers_that_were_not_asked_for(start: Start) -> None:
    """The study goes on with the rest, and names them, each once, with how to get it."""
    gone = {"ACKPROOF_RABBITMQ_SERVER": "/nonexistent", "ACKPROOF_MOTO": "/nonexistent"}
    words = ("--profile=default", "--jobs=3", "--out=../out")
    run = start(ACKPROOF, "study", "test_mine.py", *words, **gone)
    assert run.wait() == 0, run.stdout + run.stderr
    run.gone()
    told = [line for line in run.stdout.splitlines() if line.startswith("not run: ")]
    assert sorted(told) == [
        f"not run: mine[{broker}-default]: {name} names /nonexistent, which is not an "
        f"executable file. Correct or unset {name}"
        for broker, name in (
            ("rabbitmq", "ACKPROOF_RABBITMQ_SERVER"),
            ("sqs", "ACKPROOF_MOTO"),
        )
    ]
    record = run.report()
    assert [trial.broker for trial in record.trials] == ["redis"]
    assert record.complete
    assert len(record.not_run) == 2


def test_a_missing_proxy(start: Start) -> None:
    """A scenario that cannot run without it, and nothing else asked for."""
    words = ("--broker=redis", "--profile=default", "--scenario=connection_reset", "--jobs=1")
    run = start(ACKPROOF, "study", *words, "--out=../out", ACKPROOF_TOXIPROXY_SERVER="/nonexistent")
    assert "ACKPROOF_TOXIPROXY_SERVER names /nonexistent" in refused(run)


SQUATTER = """#!{python}
import os, socket, sys, time
from pathlib import Path

if sys.argv[1].endswith(".conf"):
    Path({tries!r}).open("a").write("x")
    if len(Path({tries!r}).read_text()) <= {times}:
        lines = Path(sys.argv[1]).read_text().splitlines()
        port = next(int(line.split()[1]) for line in lines if line.startswith("port "))
        taken = socket.create_server(("127.0.0.1", port))
        if os.fork() == 0:
            time.sleep(60)
os.execv({real!r}, [{real!r}, *sys.argv[1:]])
"""


def squatter(folder: Path, times: int) -> str:
    """A redis-server whose port is taken by somebody else, the first so many times."""
    try:
        real = parts.find("redis-server").path
    except MissingPartError as error:
        pytest.skip(str(error))
    script = folder / "redis-server"
    values = {"python": sys.executable, "tries": str(folder / "tries"), "real": real}
    script.write_text(SQUATTER.format(times=times, **values))
    script.chmod(0o755)
    return str(script)


@pytest.mark.full
def test_a_port_that_is_taken_once(start: Start, folder: Path) -> None:
    """A port that was free when it was chosen is taken when the server comes to it: another
    one is tried."""
    run = check(start, ACKPROOF_REDIS_SERVER=squatter(folder, times=1))
    assert run.wait() == 0, run.stdout + run.stderr
    run.gone()
    assert (folder / "tries").read_text() == "xx"


def test_a_port_that_is_always_taken(start: Start, folder: Path) -> None:
    """The server's own words."""
    line = refused(check(start, ACKPROOF_REDIS_SERVER=squatter(folder, times=99)))
    assert line.startswith("redis ended at its start (pid ")
    assert "Address already in use" in line


@pytest.mark.parametrize("out", ["../stdout/below/a/file", "/proc/ackproof", "/dev/null"])
def test_an_output_folder_that_cannot_be_written(start: Start, out: str) -> None:
    """Said before the trials, not after them; even root cannot."""
    line = refused(start(ACKPROOF, "study", "--broker=redis", f"--out={out}"))
    assert line.startswith(f"cannot write to {out} (")
    assert line.endswith("Choose a folder with --out.")


@pytest.mark.skipif(not shutil.which("prlimit"), reason="prlimit is of util-linux")
def test_too_few_files(start: Start) -> None:
    """What there is, what is needed, and what to do; not that there is nothing to run."""
    command = ("prlimit", "--nofile=40", ACKPROOF, "check", "test_mine.py")
    line = refused(start(*command, "--broker=redis", "--jobs=1", "--out=../out"))
    assert line.startswith("only 40 files may be open at once, and one trial needs 72")
    assert "ulimit -n" in line


# -- pytest itself ------------------------------------------------------------------------

PYTEST = (
    *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
    *("--out=../out", "--basetemp=../base"),
)


@pytest.mark.parametrize("processes", ["0", "2"])
def test_plain_pytest(start: Start, processes: str) -> None:
    """The same scenario under pytest, in this process or in two others; with a report."""
    run = start(*PYTEST, "test_mine.py", "--broker=redis", "-n", processes)
    assert run.wait() == 0, run.stdout + run.stderr
    run.gone()
    assert "1 passed" in run.stdout
    assert "ackproof: report in" in run.stdout
    record = run.report()
    assert (record.complete, record.not_run) == (True, [])


def test_plain_pytest_with_a_worker_that_does_not_start(start: Start, folder: Path) -> None:
    """A failed test without a traceback; the tests that are not ours go on."""
    (folder / "cwd/mine/mine.py").write_text("raise RuntimeError('broken')\n")
    (folder / "cwd/test_other.py").write_text("def test_other():\n    pass\n")
    run = start(*PYTEST, ".", "--broker=redis", "-n", "0")
    assert run.wait() == 1, run.stdout + run.stderr
    run.gone()
    assert "1 failed, 1 passed" in run.stdout
    assert "worker-1 ended at start" in run.stdout
    assert "Traceback" not in run.stdout


def test_a_suite_without_scenarios(start: Start, folder: Path) -> None:
    """The plugin is installed, and does nothing: no server, no report, not even when a test
    fails, or has a fixture by the name of ours."""
    (folder / "cwd/test_mine.py").write_text(
        "import pytest\n@pytest.fixture\ndef run():\n    return 1\n"
        "def test_own(run):\n    assert run == 1\n"
        "def test_bad():\n    assert False\n"
    )
    for processes in ("0", "2"):
        run = start(*PYTEST, "test_mine.py", "-n", processes)
        assert run.wait() == 1
        assert "1 failed, 1 passed" in run.stdout
        run.gone()
        assert not run.out.exists()


def test_plain_pytest_with_an_unknown_broker(start: Start) -> None:
    """An error of collection in a line, with the near names."""
    run = start(*PYTEST, "test_mine.py", "--broker=reddis", "-n", "0")
    assert run.wait() in {2, 4}
    assert "there is no broker 'reddis'. Did you mean redis?" in run.stdout
    assert not run.out.exists()


# -- judging again ------------------------------------------------------------------------


def test_judging_a_run_again(start: Start) -> None:
    """The same verdicts and counts from the stored history, with no broker running; the exit
    status says what they are; what has changed is said; a torn trial is refused."""
    words = ("--broker=redis", "--scenario=canary", "--scenario=calm", "--jobs=2", "--out=../out")
    run = start(ACKPROOF, "check", *words)
    assert run.wait() == 0, run.stdout + run.stderr
    run.gone()
    (stored,) = run.out.iterdir()
    table = [line for line in run.stdout.splitlines() if line.startswith(("calm ", "canary "))]
    assert len(table) == 2

    again = start(ACKPROOF, "judge", str(stored), PATH="/nonexistent")
    assert again.wait() == 0, again.stdout + again.stderr
    assert all(line in again.stdout for line in table)
    assert ": was " not in again.stdout

    record = json.loads((stored / "run.json").read_text())
    for trial in record["trials"]:
        trial["expected"] = trial["verdict"] = "holds"
        file = stored / trial["bundle"] / "trial.json"
        file.write_text(file.read_text().replace('"expected": "broken"', '"expected": "holds"'))
    (stored / "run.json").write_text(json.dumps(record))
    changed = start(ACKPROOF, "judge", str(stored))
    assert changed.wait() == 1, changed.stdout + changed.stderr
    assert "canary-redis-hardened" in changed.stdout
    assert ": was holds, is broken" in changed.stdout

    for history in stored.glob("trials/calm-*/history.jsonl"):
        history.write_text(history.read_text()[:3000])
    unsure = start(ACKPROOF, "judge", str(stored / "run.json"))
    assert unsure.wait() == 1

    for history in stored.glob("trials/canary-*/history.jsonl"):
        history.write_text(history.read_text()[:3000])
    unknown = start(ACKPROOF, "judge", str(stored))
    assert unknown.wait() == 2, unknown.stdout + unknown.stderr

    for history in stored.glob("trials/*/history.jsonl"):
        history.unlink()
    assert "is not a whole trial" in refused(start(ACKPROOF, "judge", str(stored)))

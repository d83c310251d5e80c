"""Nothing of a run outlives it: not after SIGKILL of the harness, not after Ctrl-C, not after
a run that went well. Seen from outside, on real brokers, workers and proxies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from _pytest.mark.structures import ParameterSet

from harness.model import Outcome
from tests.live.command import ACKPROOF, WITHIN_S, Run, listening, short_folder

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="looks into /proc for what is left"
)

Start = Callable[..., Run]
SMALL = ("--profile", "hardened", "--jobs", "2")


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts ``ackproof study`` and ends whatever is left of it after the test."""
    with ExitStack() as release:

        def start(*words: str, ignoring: str = "") -> Run:
            folder = short_folder()
            release.callback(shutil.rmtree, folder, ignore_errors=True)
            first = ("env", f"--ignore-signal={ignoring}") if ignoring else ()
            command = (*first, ACKPROOF, "study", *SMALL, f"--out={folder / 'out'}")
            run = Run(folder, *command, *words)
            release.callback(run.end)
            return run

        yield start


def has(*kinds: str) -> Callable[[Run], bool]:
    """A moment of a run: its probes have noted one of these."""
    return lambda run: any(f'"kind":"{kind}"' in run.events() for kind in kinds)


def running(word: str) -> Callable[[Run], bool]:
    """A moment of a run: one of its processes has this in its command."""

    def seen(run: Run) -> bool:
        for process in psutil.Process(run.pid).children(recursive=True):
            try:
                if any(word in part for part in [process.name(), *process.cmdline()]):
                    return True
            except psutil.Error:
                continue
        return False

    return seen


def frozen(run: Run) -> bool:
    """A moment of a run: its Toxiproxy is stopped, in the middle of a stall."""
    for process in psutil.Process(run.pid).children(recursive=True):
        try:
            if "toxiproxy" in process.name() and process.status() == psutil.STATUS_STOPPED:
                return True
        except psutil.Error:
            continue
    return False


def finished(run: Run) -> bool:
    """A moment of a run: the last task has ended, and the trial is draining."""
    return run.events().count('"kind":"finished"') >= 10


MOMENTS: dict[str, tuple[tuple[str, ...], Callable[[Run], bool]]] = {
    "imports": (("--broker=redis", "--scenario=calm"), lambda run: run.process.poll() is None),
    "session starts": (("--broker=redis", "--scenario=calm"), lambda run: "seed" in run.stdout),
    "redis boots": (("--broker=redis", "--scenario=calm"), running("valkey-server")),
    "rabbitmq boots": (("--broker=rabbitmq", "--scenario=calm"), running("beam.smp")),
    "sqs boots": (("--broker=sqs", "--scenario=calm"), running("moto.server")),
    "workers boot": (("--broker=redis", "--scenario=calm"), lambda run: bool(worker_logs(run))),
    "baseline": (("--broker=redis", "--scenario=calm"), has("worker_ready")),
    "mid-task": (("--broker=rabbitmq", "--scenario=worker_sigkill"), has("effect")),
    "mid-fault": (("--broker=redis", "--scenario=network_stall"), frozen),
    "drain": (("--broker=sqs", "--scenario=calm"), finished),
}


ON_EVERY_COMMIT = {"rabbitmq boots", "mid-task", "mid-fault"}
"""Where the most is at stake: a daemon that starts others, a body, a stopped proxy."""


def moments(*names: str) -> list[ParameterSet]:
    return [
        pytest.param(name, marks=() if name in ON_EVERY_COMMIT else pytest.mark.full)
        for name in names
    ]


def worker_logs(run: Run) -> list[Path]:
    return list(run.out.glob("*/trials/*/logs/worker-1.log"))


@pytest.mark.parametrize("moment", moments(*MOMENTS))
def test_sigkill_of_the_harness(start: Start, moment: str) -> None:
    """Whenever it comes: nothing of the run is alive soon after, nobody listens, and the folder
    for temporary files is empty."""
    words, reached = MOMENTS[moment]
    run = start(*words)
    run.until(lambda: reached(run), moment)
    ports = run.ports()
    run.process.kill()
    run.process.wait()
    run.gone()
    assert not listening(ports)


@pytest.mark.parametrize("whom", ["group", pytest.param("alone", marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "moment", moments("session starts", "rabbitmq boots", "mid-task", "mid-fault")
)
def test_ctrl_c(start: Start, moment: str, whom: str) -> None:
    """To the terminal's whole foreground group or to the command alone: soon over, with status
    130, one line, and a report of what there was until then."""
    words, reached = MOMENTS[moment]
    run = start(*words)
    run.until(lambda: reached(run), moment)
    ports = run.ports()
    began_s = time.monotonic()
    (os.killpg if whom == "group" else os.kill)(run.pid, signal.SIGINT)
    assert run.wait(WITHIN_S) == 130
    run.gone(began_s + WITHIN_S - time.monotonic())
    assert not listening(ports)
    assert len(run.stderr.splitlines()) == 1, run.stderr
    (line,) = run.stderr.splitlines()
    assert line.startswith("ackproof: interrupted")
    if moment in {"mid-task", "mid-fault"}:  # before that there is nothing to report
        record = run.report()
        assert not record.complete
        (cut,) = record.not_run
        assert cut.endswith(": interrupted")


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGHUP", marks=pytest.mark.full)])
def test_cancelled_as_a_ci_does_it(start: Start, name: str) -> None:
    """As Ctrl-C ends it, whichever state SIGINT is in: one line, status 130, its report, and
    nothing left; the next run in that folder finds no data of its servers."""
    run = start("--broker=rabbitmq", "--scenario=worker_sigkill", ignoring="INT")
    run.until(lambda: has("effect")(run), "effect")
    ports = run.ports()
    os.kill(run.pid, getattr(signal, name))
    assert run.wait(WITHIN_S) == 130
    run.gone()
    assert not listening(ports)
    (line,) = run.stderr.splitlines()
    assert line == "ackproof: interrupted; the report has what there was until then"
    assert not run.report().complete
    assert not list(run.out.glob("*/servers"))


def test_ctrl_c_where_sigint_is_ignored(start: Start) -> None:
    """As a shell leaves it in what it starts in the background: it stays ignored, so the run goes
    on to its end; and what it starts has the signals of a new process all the same."""
    run = start("--broker=redis", "--scenario=calm", "--profile=default", ignoring="INT,QUIT")
    run.until(lambda: has("effect")(run), "effect")
    ignored = {one.pid: signals_ignored(one) for one in run.family()}
    assert signal.SIGINT in ignored[run.pid]
    workers = {json.loads(line)["pid"] for line in run.events().splitlines() if "ready" in line}
    assert workers
    assert all(signal.SIGINT not in ignored[pid] for pid in workers)
    assert all(signal.SIGQUIT not in ignored[pid] for pid in workers)
    os.kill(run.pid, signal.SIGINT)
    assert run.wait() == 0, run.stdout + run.stderr
    assert run.report().complete
    run.gone()


def signals_ignored(process: psutil.Process) -> set[int]:
    """As the kernel has them."""
    with suppress(OSError):
        for line in (Path("/proc") / str(process.pid) / "status").read_text().splitlines():
            if line.startswith("SigIgn:"):
                mask = int(line.split()[1], 16)
                return {number + 1 for number in range(64) if mask >> number & 1}
    return set()


def test_a_normal_run_leaves_its_folder_alone(start: Start) -> None:
    """No process, no port, no server's data, no temporary file, nothing where it was run."""
    run = start("--broker=redis", "--broker=sqs", "--scenario=child_sigkill")
    run.until(lambda: has("effect")(run), "effect")
    ports = run.ports()
    assert ports
    assert run.wait() == 0, run.stdout + run.stderr
    run.gone()
    assert not listening(ports)
    assert list(run.cwd.iterdir()) == []
    (folder,) = run.out.iterdir()
    left = {path.name for path in folder.iterdir()} - {"logs"}
    assert left == {"run.json", "summary.md", "junit.xml", "index.html", "trials"}
    assert not [path for path in folder.rglob("*") if not (path.is_file() or path.is_dir())]
    assert run.stderr == ""


def test_a_broker_that_dies_by_itself(start: Start) -> None:
    """Its trial is unknown, and says so; it is run again on another server, as whatever came to
    no conclusion is. The trials on the other brokers go on."""
    run = start("--broker=redis", "--broker=sqs", "--scenario=calm")
    run.until(lambda: has("effect")(run) and running("valkey-server")(run), "effect on redis")
    run.until(lambda: redis_works(run), "effect on redis")
    (server,) = [one for one in run.family() if one.name().startswith("valkey-server")]
    server.kill()
    assert run.wait() == 0, run.stdout + run.stderr
    run.gone()
    trials = {trial.broker: trial for trial in run.report().trials}
    assert trials["sqs"].verdict is Outcome.HOLDS
    assert not trials["sqs"].tries
    assert trials["redis"].verdict is Outcome.HOLDS
    (earlier,) = trials["redis"].tries
    (why,) = [why for why in earlier.reasons if "died by itself" in why]
    assert f"pid {server.pid} ended by signal 9" in why


def redis_works(run: Run) -> bool:
    texts = [file.read_text() for file in run.out.glob("*/trials/*-redis-*/events/*.jsonl")]
    return any('"kind":"effect"' in text for text in texts)

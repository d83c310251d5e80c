"""The pytest plugin: the engine that runs trials. The only module here that imports pytest.

A scenario is a test that takes the ``run`` fixture; it is run once for each broker and
profile asked for. pytest's controller holds the servers and gathers the records; under
pytest-xdist each worker runs one trial at a time.
"""

from __future__ import annotations

import io
import os
import platform
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, cast

import msgspec
import pytest

from harness import brokers, parts, reporting, workload
from harness.hall import SERVERS, TEMP, Address, Hall, HallServices, join, serve, sweep
from harness.model import HarnessError, MissingPartError, Outcome, StartError, UsageError
from harness.naming import known
from harness.profiles import JUDGED, PROFILES, STUDIED
from harness.progress import Progress
from harness.record import SCHEMA, UNKNOWN_TRIES, RunRecord, TrialRecord, Try
from harness.runtimes import dying
from harness.runtimes.local import die_with_parent
from harness.scenario import Scenario
from harness.shortage import mend, need_room
from harness.trial import Plan, run_trial

HOLDER = "ackproof-run"
"""Name of the plugin object that knows the run: a Controller, or a TrialWorker."""
RECORD, NOT_RUN = "ackproof_record", "ackproof_not_run"
"""Keys of the user properties in which a test's report carries what came of its trials."""


ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a run with its report: Ctrl-C, and how a CI cancels a job."""


class RunSettings(msgspec.Struct, frozen=True):
    """What every process of a run must agree on."""

    run_id: str
    folder: str
    seed: int
    measure: bool
    """A study: a broken verdict is a finding, and does not fail its test."""
    unknown_tries: int = 0
    """How often a trial that came to no conclusion is run again."""
    hall: Address | None = None


def new_run_id() -> str:
    """When it began, and something that tells it from another that began just then."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ackproof", "Ackproof: chaos trials of Celery workers")
    group.addoption("--broker", action="append", help="broker to run on (repeatable; default: all)")
    group.addoption(
        "--profile", action="append", help="settings profile (repeatable; default: hardened)"
    )
    group.addoption("--out", default="reports", help="folder for run folders (default: reports)")
    group.addoption("--seed", type=int, help="seed of the run (default: drawn, and printed)")
    group.addoption("--ackproof-run", metavar="ID", help="name of the run folder")
    group.addoption(
        "--ackproof-longest-first", action="store_true", help="order trials by their length"
    )
    group.addoption(
        "--ackproof-unknown-tries",
        type=int,
        default=UNKNOWN_TRIES,
        metavar="N",
        help="run a trial that came to no conclusion up to N times more (default: %(default)s)",
    )
    group.addoption("--ackproof-measure", action="store_true", help="measure, do not judge")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "ackproof(brokers=..., profiles=...): narrow the brokers and profiles a scenario runs on",
    )
    config.addinivalue_line("markers", "canary: a scenario that must come out broken")
    config.addinivalue_line("markers", "long: half a minute and more; see `ackproof check -m`")
    workerinput = getattr(config, "workerinput", None)
    if workerinput is not None:
        config.pluginmanager.register(TrialWorker(workerinput["ackproof"]), HOLDER)
    else:
        config.pluginmanager.register(Controller(config), HOLDER)


def chosen(config: pytest.Config) -> tuple[list[str], list[str]]:
    """The brokers and profiles of this run. Raises UsageError for names that do not exist."""
    names = config.getoption("--broker") or brokers.names()
    for name in names:
        brokers.load(name)
    usual = STUDIED if config.getoption("--ackproof-measure") else JUDGED
    profiles = config.getoption("--profile") or list(usual)
    for profile in profiles:
        known(profile, PROFILES, "profile")
    return names, profiles


def _is_scenario(metafunc: pytest.Metafunc) -> bool:
    """Whether it takes our ``run``, and not one of the user's own by the same name."""
    found = metafunc.definition._fixtureinfo.name2fixturedefs.get("run", ())  # noqa: SLF001
    return bool(found) and found[-1].func.__module__ == __name__


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not _is_scenario(metafunc):
        return
    try:
        names, profiles = chosen(metafunc.config)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    for marker in metafunc.definition.iter_markers("ackproof"):
        if "brokers" in marker.kwargs:
            names = [name for name in names if name in marker.kwargs["brokers"]]
        # A scenario that names its profiles is about them, whatever the run asks for; it can only
        # be narrowed.
        asked = metafunc.config.getoption("--profile") or ()
        about = marker.kwargs.get("profiles", profiles)
        profiles = [name for name in about if name in asked] or about
    pairs = [(name, profile) for name in names for profile in profiles]
    metafunc.parametrize("run", pairs, indirect=True, ids=["-".join(pair) for pair in pairs])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest trials first, so that no long one is left to wait for at the end.

    pytest-xdist hands each worker a run of neighbours. They are dealt like cards, so that
    each run begins with a long one, and by broker, so that few processes import the same
    client. What is left over in the end, pytest-xdist's work stealing evens out.
    """
    if not config.getoption("--ackproof-longest-first"):
        return
    by_broker: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in sorted(items, key=_length, reverse=True):
        by_broker[_broker_of(item)].append(item)
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    hands = max(1, workers // max(1, len(by_broker)))
    items[:] = [
        item for pile in by_broker.values() for hand in range(hands) for item in pile[hand::hands]
    ]


def _broker_of(item: pytest.Item) -> str:
    call = getattr(item, "callspec", None)
    return str(call.params.get("run", ("",))[0]) if call else ""


def _length(item: pytest.Item) -> tuple[bool, float]:
    """How long its trial is likely to take, as far as that can be said beforehand."""
    scenario = getattr(getattr(item, "module", None), "SCENARIO", None)
    least_s = scenario.least_s if isinstance(scenario, Scenario) else 0.0
    return item.get_closest_marker("long") is not None, least_s


class Result:
    """What a trial came to, for a test to assert on."""

    def __init__(self, record: TrialRecord, *, measure: bool) -> None:
        self.record = record
        self._measure = measure

    def assert_holds(self) -> None:
        """Fail unless every check holds, and the trial can be believed."""
        self._assert(Outcome.HOLDS)

    def assert_broken(self) -> None:
        """For a canary: fail unless a check is broken."""
        self._assert(Outcome.BROKEN)

    def _assert(self, wanted: Outcome) -> None:
        __tracebackhide__ = True
        if self._measure or self.record.verdict is wanted:
            return
        why = "\n  ".join(self.record.reasons) or "every check holds"
        told = f"{self.record.id} is {self.record.verdict}, not {wanted}:\n  {why}"
        pytest.fail(told, pytrace=False)


class RunTrial:
    """The ``run`` fixture: runs a scenario on the broker and profile of this test."""

    def __init__(
        self, request: pytest.FixtureRequest, settings: RunSettings, services: HallServices
    ) -> None:
        self.broker, self.profile = request.param
        self._request = request
        self.measuring = settings.measure
        self._settings = settings
        self._services = services

    def __call__(
        self, scenario: Scenario, *, name: str = "", unknown_tries: int | None = None
    ) -> Result:
        """Run it, and once more (up to ``unknown_tries`` times) while it comes to no conclusion:
        its baseline was not met in time, its fault hit nothing, its broker could not be asked.
        A conclusion, whichever, is never run again; every try is in the record."""
        node = self._request.node
        name = name or str(node.originalname).removeprefix("test_")
        more = self._settings.unknown_tries if unknown_tries is None else unknown_tries
        tries: list[Try] = []
        record = self._once(scenario, name)
        while record.verdict is Outcome.UNKNOWN and len(tries) < more:
            tries.append(Try(record.id, record.bundle, record.reasons))
            record = self._once(scenario, name)
        record = msgspec.structs.replace(record, tries=tries)
        node.user_properties.append((RECORD, msgspec.json.encode(record).decode()))
        return Result(record, measure=self._settings.measure)

    def _once(self, scenario: Scenario, name: str) -> TrialRecord:
        node = self._request.node
        index = self._services.next_index()
        plan = Plan(
            id=f"{name}-{self.broker}-{self.profile}-{index}",
            name=name,
            claim=(node.module.__doc__ or "").strip().partition("\n")[0],
            broker=self.broker,
            profile=self.profile,
            seed=self._settings.seed,
            index=index,
            expected=Outcome.BROKEN if node.get_closest_marker("canary") else Outcome.HOLDS,
        )
        app = workload.load(scenario.workload, Path(node.path).parent)
        return run_trial(plan, scenario, app, self._services, Path(self._settings.folder))


@pytest.fixture
def run(request: pytest.FixtureRequest) -> RunTrial:
    """Runs a Scenario and returns its Result."""
    holder = cast("Controller | TrialWorker", request.config.pluginmanager.get_plugin(HOLDER))
    return RunTrial(request, holder.settings, holder.services())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A trial that cannot run says so in one line; without its server it is skipped, but
    not in CI, where a skip would be a claim that nobody checked."""
    try:
        return (yield)
    except MissingPartError as error:
        item.user_properties.append((NOT_RUN, f"{item.name}: {error}"))
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    except HarnessError as error:
        item.user_properties.append((NOT_RUN, f"{item.name}: {error}"))
        pytest.fail(str(error), pytrace=False)


class TrialWorker:
    """In a pytest-xdist worker: the run's settings, and the hall from afar."""

    def __init__(self, told: str) -> None:
        self.settings = msgspec.json.decode(told, type=RunSettings)
        self._services: HallServices | None = None
        die_with_parent()
        if signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
            # As the command line wants it; but what is started from here must be as usual.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._hall = join(cast("Address", self.settings.hall))

    def services(self) -> HallServices:
        if self._services is None:
            self._services = HallServices(self._hall)
        return self._services


class Controller:
    """In the process that was started: holds the servers, gathers the records."""

    def __init__(self, config: pytest.Config) -> None:
        seed = config.getoption("--seed")
        run_id = config.getoption("--ackproof-run") or new_run_id()
        self._config = config
        self.folder = Path(config.getoption("--out")).absolute() / run_id
        self.settings = RunSettings(
            run_id=run_id,
            folder=str(self.folder),
            seed=secrets.randbelow(1_000_000) if seed is None else seed,
            measure=config.getoption("--ackproof-measure"),
            unknown_tries=config.getoption("--ackproof-unknown-tries"),
        )
        self._hall: Hall | None = None
        self._address: Address | None = None
        self._services: HallServices | None = None
        self._starting: list[Thread] = []
        self._workers: list[subprocess.Popen[bytes]] = []
        self._started_s = time.time()
        self.records: list[TrialRecord] = []
        self.not_run: list[str] = []
        self.errors: list[str] = []
        self.failed: list[str] = []
        self.stopped = ""
        """Why the session was ended before its end: a scenario file that cannot be read."""
        self.interrupted = False
        self._running: set[str] = set()
        self._waiting: dict[str, None] = {}
        self._scenarios: set[str] = set()
        """Node ids of the tests that run trials; the rest of a suite is not our business."""

    def hall(self) -> Hall:
        if self._hall is None:
            self._hall = Hall(self.folder / SERVERS)
        return self._hall

    def services(self) -> HallServices:
        if self._services is None:
            self._services = HallServices(self.hall())
        return self._services

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_newgateway(self, gateway: object) -> None:
        """A worker's process is there. It is a while until it makes itself known to the hall."""
        process = getattr(getattr(gateway, "_io", None), "popen", None)
        if process is not None:
            self._workers.append(process)

    def address(self) -> Address:
        if self._address is None:
            self._address = serve(self.hall())
        return self._address

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: list[Any]) -> None:
        """Have the workers that are started here end with this process, from the first moment."""
        if config.getoption("--ackproof-longest-first") and sys.platform.startswith("linux"):
            words = [sys.executable, "-I", "-S", dying.__file__, str(os.getpid())]
            told = f"//python={shlex.join(words)}"
            specs[:] = [type(spec)(f"{spec}{told}") if spec.popen else spec for spec in specs]

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        """pytest-xdist is about to start a worker: tell it where the run is."""
        if self._config.getoption("--ackproof-longest-first"):
            self._start_servers()
        told = msgspec.structs.replace(self.settings, hall=self.address())
        node.workerinput["ackproof"] = msgspec.json.encode(told).decode()  # type: ignore[attr-defined]

    def _start_servers(self) -> None:
        """Have them come up while pytest-xdist's workers do; what fails, a trial will tell."""
        if not self._starting:
            names, _ = chosen(self._config)
            starts = [self.hall().nursery, *(partial(self.hall().broker, name) for name in names)]
            self._starting = [
                Thread(target=_quietly, args=(start,), daemon=True) for start in starts
            ]
            for thread in self._starting:
                thread.start()

    def pytest_report_header(self) -> str:
        return f"ackproof: seed {self.settings.seed}, run {self.settings.run_id}"

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._expect(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._expect(ids)

    def _expect(self, nodeids: Iterable[str]) -> None:
        try:
            names, profiles = chosen(self._config)
        except HarnessError:
            return  # collecting has said so
        marks = tuple(f"[{name}-{profile}" for name in names for profile in (*profiles, *PROFILES))
        trials = [nodeid for nodeid in nodeids if any(mark in nodeid for mark in marks)]
        self._waiting |= dict.fromkeys(trials)
        self._scenarios.update(trials)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._waiting.pop(nodeid, None)
        if nodeid in self._scenarios:
            self._running.add(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.discard(nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid not in self._scenarios:
            return
        trials: list[TrialRecord] = []
        not_run: list[str] = []
        for key, value in report.user_properties if report.when == "call" else ():
            if key == RECORD:
                trials.append(msgspec.json.decode(str(value), type=TrialRecord))
            elif key == NOT_RUN:
                not_run.append(str(value))
        if report.failed:
            why = f"{report.nodeid}: {_last_line(report.longrepr)}"
            if not_run or not trials:
                # An error of ours, or a crashed process: it is reported, never dropped.
                not_run = not_run or [why]
                self.errors += not_run
            elif all(trial.passed for trial in trials):
                self.failed.append(why)
        self.records += trials
        self.not_run += not_run

    def pytest_keyboard_interrupt(self) -> None:
        """Also after ``pytest.exit``."""
        self.interrupted = not self.stopped
        # The report is being written, and what runs is being ended: a second Ctrl-C waits.
        for signum in ENDINGS:
            signal.signal(signum, signal.SIG_IGN)
        self._end_workers()

    def _end_workers(self) -> None:
        """End pytest-xdist's workers at once; the guards of what they started do the rest."""
        for worker in self._workers:
            worker.kill()
        if self._hall is not None:
            for pid in self._hall.users:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        if self._hall is None:
            return
        record = self.record()
        if record.trials or record.not_run:
            self.folder.mkdir(parents=True, exist_ok=True)
            reporting.write_all(record, self.folder)
        self._hall.close()
        shutil.rmtree(self.folder / TEMP, ignore_errors=True)
        with suppress(OSError):
            self.folder.rmdir()  # a session without trials leaves no folder
        if self.interrupted or self.stopped:
            for signum in ENDINGS:
                signal.signal(signum, signal.default_int_handler)

    def record(self) -> RunRecord:
        """Everything so far, as ``run.json`` has it."""
        complete = not self.interrupted and not self.stopped
        cut = [f"{nodeid}: interrupted" for nodeid in sorted(self._running)]
        cut += [f"{nodeid}: not started, the run was interrupted" for nodeid in self._waiting]
        return RunRecord(
            schema=SCHEMA,
            run_id=self.settings.run_id,
            seed=self.settings.seed,
            time_scale=1.0,
            versions=versions(self._hall),
            trials=sorted(self.records, key=lambda t: (t.scenario, t.broker, t.profile, t.id)),
            command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            started_at_s=self._started_s,
            duration_s=round(time.time() - self._started_s, 1),
            jobs=int(self._config.getoption("numprocesses", None) or 1),
            complete=complete,
            not_run=self.not_run + ([] if complete else cut),
            errors=self.errors,
            failed=self.failed,
        )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.records or self.not_run:
            terminalreporter.write_line(f"ackproof: report in {self.folder}")


@contextmanager
def _children_told_to_be_quiet() -> Iterator[None]:
    """Turn descriptor 2 aside: a pytest-xdist worker that is interrupted while it boots prints
    a traceback there, beside our one line."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _quietly(start: Callable[[], object]) -> None:
    with suppress(Exception):  # also what comes of closing the hall meanwhile
        start()


def _last_line(report: object) -> str:
    """What a failure comes to: the first line of its message, or the last said of it."""
    crash = getattr(report, "reprcrash", None)
    if crash is not None and str(crash.message).strip():
        at = f"{Path(str(crash.path)).name}:{crash.lineno}"
        return f"{str(crash.message).strip().splitlines()[0]} ({at})"
    lines = [line.strip() for line in str(report).splitlines() if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]
    return next(reversed(errors or lines), "no reason given")


def versions(hall: Hall | None) -> dict[str, str]:
    """What took part, by name."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("ackproof", "celery", "kombu", "redis", "amqp", "boto3", "moto"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found | (hall.versions() if hall else {})


JOBS_PER_CORE = 6
"""A trial waits for four fifths of its time and more, and computes for the rest
(benchmarks/jobs.py shows the gain)."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a command of ours wants of a session; names as on the command line."""

    brokers: Sequence[str]
    profiles: Sequence[str]
    out: str
    seed: int | None
    jobs: int | None
    unknown_tries: int
    measure: bool
    marked: str = ""
    """Only scenarios whose markers satisfy this expression, as pytest's ``-m``."""


def session(files: Sequence[Path], asked: Asked, progress: Progress) -> RunRecord:
    """Run scenario files in one pytest session, and give its record.

    Raises HarnessError when the session could not run at all.
    """
    many = asked.jobs or JOBS_PER_CORE * (os.cpu_count() or 1)
    args = [str(file) for file in files]
    args += [f"--broker={name}" for name in asked.brokers]
    args += [f"--profile={name}" for name in asked.profiles]
    args += [
        f"--out={asked.out}",
        f"--numprocesses={many}",
        "--dist=worksteal",
        "--ackproof-longest-first",
    ]
    # Options of the project's own test suite are not about these trials.
    args += ["-c", str(Path(__file__).with_name("trials.ini")), f"--rootdir={Path.cwd()}"]
    # Rewriting the asserts of every module of the engine would cost each process a second.
    args += ["-p", "no:cacheprovider", "--import-mode=importlib", "--assert=plain"]
    args += [f"--seed={asked.seed}"] if asked.seed is not None else []
    args += ["--ackproof-measure"] if asked.measure else []
    args += ["-m", asked.marked] if asked.marked else []
    args += [f"--ackproof-unknown-tries={asked.unknown_tries}"]
    need_room(many)
    sweep(Path(asked.out))
    run_id = new_run_id()
    temp = Path(asked.out).absolute() / run_id / TEMP
    temp.parent.mkdir(parents=True)
    args += [f"--ackproof-run={run_id}", f"--basetemp={temp}"]
    os.environ.pop("PYTEST_ADDOPTS", None)
    watcher = _Watcher(progress, many)
    said = io.StringIO()
    with progress, redirect_stdout(said), redirect_stderr(said), _children_told_to_be_quiet():
        status = pytest.main(args, plugins=[watcher])
    controller = watcher.controller
    if status == pytest.ExitCode.INTERRUPTED and controller is None:
        raise KeyboardInterrupt
    if controller is None:
        last = said.getvalue().strip().splitlines()[-1:]
        raise UsageError(f"pytest could not start (exit status {status}): {' '.join(last)}")
    record = controller.record()
    if controller.stopped:
        raise StartError(controller.stopped)
    if status == pytest.ExitCode.INTERNAL_ERROR and not record.trials:
        why = said.getvalue().strip().rpartition("INTERNALERROR>")[2].strip()
        raise StartError(f"the session failed: {why}", mend(why) or "Please report it.")
    if not record.trials and not controller.interrupted:
        reasons = [line.partition(": ")[2] or line for line in record.errors or record.not_run]
        raise StartError(next(iter(reasons), _nothing_in(files, asked.marked)))
    return record


def _nothing_in(files: Sequence[Path], marked: str) -> str:
    names = ", ".join(str(file) for file in files[:3]) + (", …" if files[3:] else "")
    if marked:
        return f"there is nothing to run in {names} for the marker expression -m {marked!r}"
    return (
        f"there is nothing to run in {names}. A scenario is a test that takes the `run` fixture, "
        "and may be narrowed to some brokers"
    )


def check_names(wanted_brokers: Sequence[str], wanted_profiles: Sequence[str]) -> None:
    """Raise UsageError for one that does not exist, MissingPartError for one that cannot run."""
    for name in wanted_brokers:
        brokers.load(name)
    for name in wanted_profiles:
        known(name, PROFILES, "profile")
    for name in wanted_brokers:
        parts.need(name)


class _Watcher:
    """Passes on to the progress display what pytest reports."""

    def __init__(self, progress: Progress, jobs: int) -> None:
        self.controller: Controller | None = None
        self._progress = progress
        self._jobs = jobs

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionstart(self, session: pytest.Session) -> Iterator[None]:
        found = session.config.pluginmanager.get_plugin(HOLDER)
        self.controller = found if isinstance(found, Controller) else None
        if self.controller is not None:
            self.controller.address()  # before the mask: its threads start the run's servers
            self._progress.say(f"seed {self.controller.settings.seed}")
        # Ctrl-C is for this process, which ends the others. pytest-xdist's workers inherit
        # the mask; one that comes meanwhile is delivered afterwards.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        if self._jobs:
            self._progress.expect(len(ids), min(self._jobs, len(ids)))
            self._jobs = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.controller is not None:
            self.controller.stopped = f"{report.nodeid}: {_last_line(report.longrepr)}"
            pytest.exit(self.controller.stopped)

    def pytest_runtest_logstart(self) -> None:
        self._progress.started()

    def pytest_runtest_logfinish(self) -> None:
        self._progress.finished()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for key, value in report.user_properties if report.when == "call" else ():
            if key == RECORD:
                self._progress.judged(msgspec.json.decode(str(value), type=TrialRecord))

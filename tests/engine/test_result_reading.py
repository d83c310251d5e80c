"""Results are read with the app's own backend, by a process of their own; or it is said why not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from celery import Celery

from harness import result_reading
from harness.checks.results_readable import results_readable
from harness.model import Event, Settings
from harness.scenario import Scenario
from harness.stage import READING, Stage
from harness.workload import Workload
from tests.doubles import FakeLease, FakeLink, FakeProbe, FakeProcess, FakeRuntime

WORKLOAD = Workload(worker="work {name}", producer="produce")
FILES = "celery.backends.filesystem:FilesystemBackend"
REDIS = "celery.backends.redis:RedisBackend"


class RealReader(FakeRuntime):
    """Runs the reader for real, to its end; everything else is a stand-in."""

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        remove: Sequence[Path] = (),
    ) -> FakeProcess:
        process = super().start(name, command, env=env, cwd=cwd, log=log, remove=remove)
        if name == "results":
            environment = {n: v for n, v in env.items() if n != "TMPDIR"}
            done = subprocess.run(command, env=environment, cwd=cwd, check=False, timeout=60)
            process.ends(status=done.returncode)
        return process


class Scene:
    """A trial whose worker told what its result backend is, and whose tasks have run."""

    def __init__(self, folder: Path, backend: str, settings: Settings, *left_out: str) -> None:
        self.folder = folder / "trial"
        scenario = Scenario(checks=[results_readable()])
        stage = Stage(scenario, WORKLOAD, RealReader(), FakeLease(), FakeLink(), {}, self.folder)
        told = {"settings": dict(settings), "left_out": left_out, "backend": backend}
        (self.folder / READING / "backend.json").write_text(json.dumps(told))
        probe = FakeProbe(self.folder)
        probe.notes("worker_ready", python=sys.executable)
        for task_id in ("a", "b", "c"):
            probe.notes("publish_invoke", task_id)
        stage.tick()
        result_reading.read_results(stage)
        self.stage = stage

    def events(self, kind: str) -> list[Event]:
        return [event for event in self.stage.history().events if event.kind == kind]

    @property
    def states(self) -> dict[str, object]:
        return {event.task_id: event.data.get("state") for event in self.events("result_read")}

    @property
    def why_not(self) -> str:
        (event,) = self.events("results_not_read")
        assert not self.events("results_read")
        return str(event.data["why"])


Build = Callable[..., Scene]


@pytest.fixture
def scene(tmp_path: Path) -> Build:
    return lambda *args: Scene(tmp_path, *args)


def filed(folder: Path, **settings: object) -> tuple[Celery, dict[str, object]]:
    """An app whose results are in files, and its settings."""
    folder.mkdir(exist_ok=True)
    told = {"result_backend": f"file://{folder}", **settings}
    app = Celery("filed", set_as_current=False)
    app.conf.update(told)
    return app, told


def test_results_are_read_as_they_were_stored(scene: Build, tmp_path: Path) -> None:
    """A value by its digest, a failure and one that is not there by their state."""
    app, settings = filed(tmp_path / "files")
    app.backend.store_result("a", (1, {"x": 2}), "SUCCESS")
    app.backend.store_result("b", ValueError("no"), "FAILURE")
    read = scene(FILES, settings)
    assert read.states == {"a": "SUCCESS", "b": "FAILURE", "c": "PENDING"}
    assert read.events("result_read")[0].data["result"] == '[1,{"x":2}]'
    assert read.events("results_read")[0].data == {"number": 3, "expires_s": 86400.0}


def test_the_apps_own_serializer_and_prefix(scene: Build, tmp_path: Path) -> None:
    """Pickled, with a key of its own: what the app was set to, the reader is."""
    app, settings = filed(
        tmp_path / "files",
        result_serializer="pickle",
        accept_content=["pickle"],
        result_backend_transport_options={"global_keyprefix": "mine"},
    )
    app.backend.store_result("a", {1: 2}, "SUCCESS")
    read = scene(FILES, settings)
    assert read.states == {"a": "SUCCESS", "b": "PENDING", "c": "PENDING"}
    assert read.events("result_read")[0].data["result"] == '{"1":2}'


def test_a_result_that_nobody_can_decode(scene: Build, tmp_path: Path) -> None:
    """Half a file, as a kill leaves it: told for that one, and the others are read."""
    app, settings = filed(tmp_path / "files")
    for name in "abc":
        app.backend.store_result(name, 1, "SUCCESS")
    path = tmp_path / "files" / "celery-task-meta-b"
    path.write_bytes(path.read_bytes()[:20])
    read = scene(FILES, settings)
    assert read.states == {"a": "SUCCESS", "b": "", "c": "SUCCESS"}
    assert "error" in read.events("result_read")[1].data


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (None, "the app has no result backend"),
        ("rpc://", "rpc:// sends results to the producer's own queue"),
        ("cache+memory://", "the result backend is the worker's own memory"),
    ],
)
def test_a_backend_that_cannot_be_read_from_outside(
    scene: Build, url: str | None, why: str
) -> None:
    """There is none, or it is in somebody's memory."""
    read = scene("any:Backend", {} if url is None else {"result_backend": url})
    assert read.why_not == why


def test_a_backend_that_is_another_one(scene: Build, tmp_path: Path) -> None:
    """An app of a class of its own, or with settings that are objects, is not guessed at."""
    _, settings = filed(tmp_path / "files")
    assert "mine:Backend, could not be made again" in scene("mine:Backend", settings).why_not


def test_settings_that_are_objects(scene: Build, tmp_path: Path) -> None:
    """They cannot be handed on; which they are is told."""
    _, settings = filed(tmp_path / "files")
    why = scene(FILES, settings, "redis_backend_credential_provider").why_not
    assert why == "settings of the app that are objects: redis_backend_credential_provider"


def test_a_backend_that_is_gone(scene: Build) -> None:
    """Nobody listens any more: each result says so, and none is called missing."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    read = scene(REDIS, {"result_backend": f"redis://127.0.0.1:{port}/0"})
    assert read.states == {"a": "", "b": "", "c": ""}
    assert "Connection" in str(read.events("result_read")[0].data["error"])


@pytest.mark.slow
@pytest.mark.full
def test_a_backend_that_does_not_answer(scene: Build) -> None:
    """It takes the connection and says nothing: given up on after one wait, not after three."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        read = scene(REDIS, {"result_backend": url})
    assert read.why_not == "the result backend gave no answer in 5 s"


def test_a_worker_that_did_not_tell(tmp_path: Path) -> None:
    """No worker was ready, or its probe could not write: no reader is started."""
    runtime = FakeRuntime()
    scenario = Scenario(checks=[results_readable()])
    stage = Stage(scenario, WORKLOAD, runtime, FakeLease(), FakeLink(), {}, tmp_path / "trial")
    result_reading.read_results(stage)
    (event,) = stage.history().events
    assert (event.kind, event.data["why"]) == (
        "results_not_read",
        "no worker told what its result backend is",
    )
    assert not runtime.started


def test_only_where_a_check_needs_it(tmp_path: Path) -> None:
    """Otherwise no worker is asked to tell."""
    for name, checks in (("with", [results_readable()]), ("without", [])):
        runtime = FakeRuntime()
        scenario = Scenario(checks=checks)
        stage = Stage(scenario, WORKLOAD, runtime, FakeLease(), FakeLink(), {}, tmp_path / name)
        stage.start_worker("worker-1", marker=True)
        folder = runtime.env["worker-1"]["ACKPROOF_TELL_RESULTS"]
        assert folder == (str(tmp_path / name / READING) if checks else "")

"""Real servers for the contract tests, each started once for a module that asks for it.

A missing server skips on a developer's machine and fails in CI.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from harness.model import Endpoint, MissingPartError
from harness.runtimes import toxiproxy
from harness.runtimes.local import LocalProcess, LocalRuntime


class CleaningRuntime(LocalRuntime):
    """Local processes that the fixture ends, in the reverse order of their start."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[LocalProcess] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        remove: Sequence[Path] = (),
    ) -> LocalProcess:
        process = super().start(name, command, env=env, cwd=cwd, log=log, remove=remove)
        self.started.append(process)
        return process

    def stop_all(self) -> None:
        for process in reversed(self.started):
            process.stop()


@pytest.fixture(scope="module")
def runtime() -> Iterator[CleaningRuntime]:
    runtime = CleaningRuntime()
    try:
        yield runtime
    finally:
        runtime.stop_all()


@pytest.fixture(scope="module")
def toxiproxy_server(
    runtime: CleaningRuntime, tmp_path_factory: pytest.TempPathFactory
) -> Endpoint:
    return started(lambda: toxiproxy.start(runtime, tmp_path_factory.mktemp("toxiproxy"))[1])


def started(start: Callable[[], Endpoint]) -> Endpoint:
    try:
        return start()
    except MissingPartError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server() -> Callable[[Callable[[], Endpoint]], Endpoint]:
    """Start a server, or skip (fail in CI) when it is missing."""
    return started

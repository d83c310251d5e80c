"""Which steps there are on a broker and in a pool, and what a trial is refused for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import steps
from harness.cli import main
from harness.model import NotHereError, step
from harness.reporting.steps_table import listed


def what(name: str, pool: str) -> list[str]:
    return [one.what for one in steps.survey().here("redis", pool) if one.name == name]


@pytest.mark.parametrize("pool", steps.POOLS)
def test_each_step_is_told_once_in_a_pool(pool: str) -> None:
    """Whatever differs between pools: of a step, a pool has one account, or says that it has
    none."""
    here = [one.name for one in steps.survey().here("redis", pool)]
    assert len(here) == len(set(here))
    absent = {name for name in steps.names() if steps.absent(name, "redis", pool)}
    assert set(here) | absent == set(steps.names())
    assert not set(here) & absent


def test_sent_does_not_exist_in_solo() -> None:
    """The call that would hand the message over comes back when the body has ended."""
    assert "runs the body right there" in steps.absent("sent", "redis", "solo")
    assert not steps.absent("sent", "redis", "threads")
    with pytest.raises(NotHereError, match="sent does not exist in the pool solo"):
        steps.need([(step("sent"), "main")], "redis", "solo")


def test_an_early_acknowledgement_in_solo_is_told_for_what_it_is() -> None:
    """It comes when the body has ended."""
    assert what("early_acked", "prefork") == ["acks early: the broker was told"]
    assert what("early_acked", "solo") == [
        "acks early, yet the body has ended; the broker was told"
    ]


@pytest.mark.parametrize("pool", ["threads", "gevent", "eventlet", "solo"])
def test_a_pool_without_processes_has_no_child_to_kill(pool: str) -> None:
    """Refused with the reason, in the list as in a trial."""
    with pytest.raises(NotHereError, match=f"the pool {pool} has no child processes"):
        steps.need([(step("effect"), "child")], "redis", pool)
    text, moved = listed("redis", pool, sys.executable, json=False)
    assert f"not here: the pool {pool} has no child processes" in text
    assert not moved


def test_a_pool_of_somebodys_own() -> None:
    """Nothing is known of it: no step is refused beforehand."""
    assert not steps.absent("sent", "redis", "custom")
    assert not steps.absent("effect", "redis", "custom", child=True)


@pytest.mark.parametrize(
    ("module", "pool"),
    [
        ("celery.concurrency.thread", "threads"),
        ("celery.concurrency.solo", "solo"),
        ("mine.solo", "prefork"),
        ("celery.concurrency.other", "prefork"),
        (None, "prefork"),
    ],
)
def test_the_pool_that_a_worker_runs(module: str | None, pool: str) -> None:
    """By the module it names; one that is not Celery's own is taken for what the scenario says."""
    assert steps.pool_of(module, "prefork") == pool


def python_without(folder: Path, name: str) -> str:
    """An interpreter whose Celery lacks a function."""
    module, _, path = name.partition(":")
    owner, _, attribute = path.rpartition(".")
    (folder / "sitecustomize.py").write_text(f"import {module} as m\ndel m.{owner}.{attribute}\n")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return str(python)


def test_a_name_that_has_moved_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the list, which says which function is missing, and in the exit status; the other
    steps are listed all the same."""
    python = python_without(tmp_path, "celery.worker.request:Request.on_accepted")
    with pytest.raises(SystemExit) as ended:
        main(["steps", "--broker", "redis", "--python", python])
    told = capsys.readouterr()
    assert ended.value.code == 3
    assert told.err.startswith(
        "ackproof: the step accepted cannot be watched: "
        "celery.worker.request:Request.on_accepted is not there"
    )
    assert len(told.err.splitlines()) == 1
    assert told.out.count("MOVED") == 1
    assert "retry_published" in told.out

"""The steps at which a fault can be made to fire: what there is, where, and whether it is there.

The catalogue itself is the probe's (``probe/ackproof_steps.py``), which runs in the user's
process; here it is read, checked against an installed Celery and kombu, and asked whether a
trial's triggers exist on its broker and in its pool.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from harness.model import HarnessError, NotHereError, Trigger, UsageError
from harness.naming import known

CATALOGUE = Path(__file__).with_name("probe") / "ackproof_steps.py"
ANSWER_S = 60.0
POOLS = ("prefork", "threads", "gevent", "eventlet", "solo")
_MODULES = {
    "thread": "threads",
    "prefork": "prefork",
    "gevent": "gevent",
    "eventlet": "eventlet",
    "solo": "solo",
}


class Step(Struct, frozen=True):
    """One step, and the function it stands at; ``moved`` says why that cannot be found."""

    name: str
    process: str
    where: str
    moment: str
    what: str
    brokers: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    moved: str = ""

    def on(self, broker: str) -> bool:
        return not self.brokers or broker in self.brokers

    def within(self, pool: str) -> bool:
        """A pool that is none of Celery's own is taken to have what the others have."""
        return not self.pools or pool in self.pools or pool not in POOLS


class Survey(Struct, frozen=True):
    """The steps as one interpreter has them."""

    versions: Mapping[str, str]
    python: str
    steps: tuple[Step, ...]

    def here(self, broker: str, pool: str) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.on(broker) and step.within(pool))


@cache
def names() -> tuple[str, ...]:
    """All steps, in the order of a message's life."""
    return tuple(dict.fromkeys(step.name for step in _catalogue()))


@cache
def _source() -> dict[str, Any]:
    return runpy.run_path(str(CATALOGUE))


@cache
def _catalogue() -> tuple[Step, ...]:
    return msgspec.convert([entry._asdict() for entry in _source()["STEPS"]], tuple[Step, ...])


def _in_main() -> tuple[str, ...]:
    return msgspec.convert(_source()["IN_MAIN"], tuple[str, ...])


def pool_of(module: object, otherwise: str) -> str:
    """The pool whose module a worker named; ``otherwise`` for one that is not Celery's own."""
    package, _, name = str(module).rpartition(".")
    return _MODULES.get(name, otherwise) if package == "celery.concurrency" else otherwise


def survey(python: str = sys.executable) -> Survey:
    """The steps, checked against the Celery and kombu of this interpreter.

    Raises UsageError when it cannot be run.
    """
    try:
        answer = subprocess.run(
            [python, str(CATALOGUE)], capture_output=True, timeout=ANSWER_S, check=True
        )
        return msgspec.convert(json.loads(answer.stdout), Survey)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UsageError(f"{python} could not list the steps: {' '.join(said)}") from error
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise UsageError(f"{python} could not list the steps: {error}") from error


def absent(name: str, broker: str, pool: str = "prefork", *, child: bool = False) -> str:
    """Why there is no such step on this broker, in this pool; with ``child``, why no pool process
    stands there. Empty when there is. Raises UsageError for a name that is no step's."""
    known(name, names(), "step")
    here = [step for step in _catalogue() if step.name == name and step.on(broker)]
    if not here:
        return f"the step {name} does not exist on {broker}, which keeps the message meanwhile"
    if not any(step.within(pool) for step in here):
        return f"the step {name} does not exist in the pool {pool}, which runs the body right there"
    if child and pool in _in_main():
        return f"the pool {pool} has no child processes: the body runs in the main process"
    return ""


def need(triggers: Iterable[tuple[Trigger, str]], broker: str, pool: str) -> None:
    """Raise NotHereError unless each trigger, with its fault's target, exists here."""
    for when, target in triggers:
        why = absent(when.step, broker, pool, child=target == "child")
        if why:
            raise NotHereError(why)


def refuse_moved(missing: Iterable[object], triggers: Iterable[Trigger]) -> None:
    """Raise HarnessError when a worker said that a step of a trigger cannot be watched there."""
    told = [str(one) for one in missing]
    for when in triggers:
        for one in told:
            if one.partition(":")[0] == when.step:
                raise HarnessError(
                    f"the step {one} in the worker's Celery or kombu",
                    "`ackproof steps --python` with its interpreter shows all of them.",
                )

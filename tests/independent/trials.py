"""Runs trials of the schedule through the real engine, with a look of its own at the broker."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from harness import bundle, workload
from harness.hall import Address, Hall, HallServices, join, serve
from harness.history import History
from harness.model import BrokerView, Event, Horizon, MissingPartError, Settings
from harness.protocols import Lease
from harness.record import TrialRecord
from harness.trial import Plan, run_trial
from tests.independent import books
from tests.independent.books import Line, Message
from tests.independent.comparing import Comparison, compare
from tests.independent.looking import look
from tests.independent.schedule import Drawn

HERE = Path(__file__).parent


class LookedAt:
    """A lease that is looked at just before it is given back."""

    def __init__(self, lease: Lease, look_at: Callable[[str, Settings], None]) -> None:
        self._lease = lease
        self._look_at = look_at
        self.host = lease.host
        self.port = lease.port

    def url(self, host: str, port: int) -> str:
        return self._lease.url(host, port)

    def settings(self) -> Settings:
        return self._lease.settings()

    def view(self, live: Settings) -> BrokerView:
        return self._lease.view(live)

    def name_held(self, live: Settings, received: Sequence[Event]) -> BrokerView:
        return self._lease.name_held(live, received)

    def horizon(self, live: Settings) -> Horizon:
        return self._lease.horizon(live)

    def release(self) -> None:
        try:
            self._look_at(self.url(self.host, self.port), self.settings())
        finally:
            self._lease.release()


class LookingServices(HallServices):
    """The run's services, with an own look at each broker that they lend."""

    def __init__(self, hall: Hall) -> None:
        super().__init__(hall)
        self.found: dict[int, set[Message]] = {}

    def lease(self, broker: str, index: int) -> Lease:
        def look_at(url: str, settings: Settings) -> None:
            self.found[index] = look(broker, url, settings)

        return LookedAt(super().lease(broker, index), look_at)


@dataclass(frozen=True)
class Trial:
    """What one trial left: the engine's record, and the witness's own."""

    drawn: Drawn
    record: TrialRecord
    history: History
    lines: list[Line]
    held: set[Message]


@contextmanager
def servers(folder: Path) -> Iterator[Hall]:
    hall = Hall(folder / "servers")
    try:
        yield hall
    finally:
        hall.close()


def run_drawn(drawn: Drawn, services: LookingServices, folder: Path) -> Trial:
    """One trial of the schedule, through the engine as every other."""
    index = services.next_index()
    plan = Plan(
        id=f"{drawn.number}-{drawn.broker}-{drawn.profile}",
        name="independent",
        claim="",
        broker=drawn.broker,
        profile=drawn.profile,
        seed=drawn.seed,
        index=index,
    )
    app = workload.load(drawn.scenario.workload, HERE)
    record = run_trial(plan, drawn.scenario, app, services, folder)
    trial = folder / "trials" / plan.id
    return Trial(
        drawn=drawn,
        record=record,
        history=bundle.read(trial).history,
        lines=books.read(trial / "ledger"),
        held=services.found[index],
    )


@dataclass(frozen=True)
class Tried:
    """How a trial of the schedule came out, from a process of the pool."""

    drawn: str
    alone: str
    verdict: str
    reasons: tuple[str, ...]
    comparison: Comparison | None
    error: str = ""
    missing: str = ""
    """A server that is not on this machine."""


@contextmanager
def many_at_once(hall: Hall, at_once: int) -> Iterator[Executor]:
    """A process for each trial that runs: as under pytest-xdist, for what the trials use of
    their process (Toxiproxy's client keeps its server in a class) is theirs alone."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(at_once, context, _enter, (serve(hall),)) as pool:
        yield pool


_hall: list[LookingServices] = []


def _enter(address: Address) -> None:
    _hall.append(LookingServices(join(address)))


def tried(draw: Callable[[int, int], Drawn], seed: int, number: int, folder: Path) -> Tried:
    """One trial of a schedule and its comparison, in a process of the pool."""
    drawn = draw(seed, number)
    alone = f"INDEPENDENT_SEED={seed} INDEPENDENT_ONLY={number}"
    try:
        trial = run_drawn(drawn, _hall[0], folder)
        comparison = compare(trial.record, trial.history, trial.lines, trial.held)
    except MissingPartError as error:
        return Tried(str(drawn), alone, "none", (), None, missing=str(error))
    except Exception:  # noqa: BLE001 - told with the others, at the end
        return Tried(str(drawn), alone, "none", (), None, traceback.format_exc())
    record = trial.record
    return Tried(str(drawn), alone, record.verdict.value, tuple(record.reasons), comparison)

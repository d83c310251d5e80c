"""Shows how a run goes on: one live line on a terminal, a plain line a trial elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from harness.model import Outcome
from harness.record import TrialRecord

_STYLE = {Outcome.HOLDS: "green", Outcome.BROKEN: "red", Outcome.UNKNOWN: "yellow"}


class Progress:
    """Told by the plugin of what starts and what is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()
        self._running = 0
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        self._bar.console.print(line, highlight=False, markup=False)

    def expect(self, trials: int, jobs: int) -> None:
        """How many trials there will be, and how many at once."""
        self._bar.update(self._task, total=trials)
        self.say(f"{trials} trials, {jobs} at once")

    def started(self) -> None:
        self._running += 1
        self._describe()

    def finished(self) -> None:
        self._running -= 1
        self._bar.advance(self._task)
        self._describe()

    def judged(self, trial: TrialRecord) -> None:
        counts = trial.counts
        self._bar.console.print(
            f"{time.monotonic() - self._began_s:5.1f} s  "
            f"[{_STYLE[trial.verdict]}]{trial.verdict:8}[/] "
            f"{trial.scenario} {trial.broker} {trial.profile}: lost {counts.lost}, "
            f"stranded {counts.stranded}, duplicates {counts.duplicate_executions}",
            highlight=False,
        )

    def _describe(self) -> None:
        self._bar.update(self._task, description=f"{self._running} trials running")

"""The command line: a thin front over the pytest plugin, which is the one engine.

Exit status: 0 fine, 1 something broken, 2 something unknown, 3 could not run (one line says
why, and how to mend it), 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import click
import msgspec
from rich.console import Console

from harness import __version__
from harness.model import HarnessError, Outcome, UsageError
from harness.record import UNKNOWN_TRIES, RunRecord, TrialRecord

PIPE_WIDTH = 110
STUDIES = "studies"
EXIT_BROKEN, EXIT_UNKNOWN, EXIT_CANNOT, EXIT_INTERRUPTED = 1, 2, 3, 130


class OneLine(click.Group):
    """Turns every error of ours, and click's own, into one line and exit status 3."""

    def main(self, args: Sequence[str] | None = None, **_: object) -> NoReturn:  # type: ignore[override]
        for signum in (signal.SIGTERM, signal.SIGHUP):
            # As Ctrl-C does, with its report; what is ignored, as under nohup, stays so.
            if signal.getsignal(signum) is signal.SIG_DFL:
                signal.signal(signum, signal.default_int_handler)
        try:
            sys.exit(super().main(args, prog_name="ackproof", standalone_mode=False) or 0)
        except (click.exceptions.Abort, KeyboardInterrupt):
            click.echo("ackproof: interrupted", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except click.ClickException as error:
            click.echo(f"ackproof: {error.format_message()}", err=True)
            sys.exit(EXIT_CANNOT)
        except HarnessError as error:
            click.echo(f"ackproof: {error}", err=True)
            sys.exit(EXIT_CANNOT)


@click.group(cls=OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ackproof")
def main() -> None:
    """Which Celery tasks are lost, run twice or come late when things die."""


def trial_options(command: Callable[..., object]) -> Callable[..., object]:
    """The options of every command that runs trials."""
    for option in (
        click.option("--broker", "brokers", multiple=True, metavar="NAME", help="repeatable"),
        click.option("--profile", "profiles", multiple=True, metavar="NAME", help="repeatable"),
        click.option("--scenario", "scenarios", multiple=True, metavar="NAME", help="repeatable"),
        click.option(
            "-m", "marked", default="", metavar="EXPR", help="by pytest markers: -m 'not long'"
        ),
        click.option("--out", default="reports", metavar="DIR", help="folder for run folders"),
        click.option("--seed", type=int, metavar="N", help="drawn and printed by default"),
        click.option("--jobs", type=click.IntRange(1), metavar="N", help="trials at once"),
        click.option(
            "--unknown-tries",
            type=click.IntRange(0),
            default=UNKNOWN_TRIES,
            show_default=True,
            metavar="N",
            help="run a trial that came to no conclusion again, up to N times",
        ),
    ):
        command = option(command)
    return command


@main.command()
@click.option("--json", "as_json", is_flag=True, help="for machines")
def doctor(*, as_json: bool) -> int:
    """Show what is installed, what it enables, and how to get the rest."""
    from harness.doctor import report

    text, can_run = report(json=as_json)
    click.echo(text, nl=False)
    return 0 if can_run else EXIT_CANNOT


@main.command()
@click.option("--broker", required=True, metavar="NAME")
@click.option("--pool", default="prefork", metavar="NAME")
@click.option("--python", default=sys.executable, metavar="PATH", help="the worker's interpreter")
@click.option("--json", "as_json", is_flag=True, help="for machines")
def steps(*, broker: str, pool: str, python: str, as_json: bool) -> int:
    """List the steps of a message's life at which a fault can fire, and check that each is
    where it should be in the installed Celery and kombu."""
    from harness import brokers
    from harness.reporting.steps_table import listed

    brokers.load(broker)
    text, moved = listed(broker, pool, python, json=as_json)
    click.echo(text)
    for line in moved:
        click.echo(f"ackproof: {line}", err=True)
    return EXIT_CANNOT if moved else 0


@main.command()
@trial_options
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
def study(paths: tuple[Path, ...], **options: object) -> int:
    """Measure: every scenario on every broker with every profile asked for."""
    # The incidents are claims, each about the settings that it names: there is nothing to compare.
    every = () if options["scenarios"] else tuple(sorted(_scenarios().glob("test_*.py")))
    measured = paths or every or (_scenarios(),)
    record = _run_trials(measured, measure=True, **options)  # type: ignore[arg-type]
    if not record.complete:
        return _interrupted(record, str(options["out"]))
    unknown = any(trial.verdict is Outcome.UNKNOWN for trial in record.trials)
    return EXIT_UNKNOWN if unknown or record.errors else 0


@main.command()
@trial_options
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
def check(paths: tuple[Path, ...], **options: object) -> int:
    """Judge: run scenario files as claims. Fails on the first broken one, and on unknown."""
    record = _run_trials(paths or (_scenarios(),), measure=False, **options)  # type: ignore[arg-type]
    return exit_status(record) if record.complete else _interrupted(record, str(options["out"]))


@main.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def diff(first: Path, second: Path) -> int:
    """Lay the crash tables of two runs side by side; fails where they differ beyond chance."""
    from harness.reporting import crash_table, run_json

    lines, differ = crash_table.differences(run_json.load(first), run_json.load(second))
    if not lines:
        raise UsageError(
            "these runs have no crash table both", "Make one: study --scenario crash_table."
        )
    for line in lines:
        click.echo(line)
    return EXIT_BROKEN if differ else 0


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
def judge(run: Path) -> int:
    """Judge a stored run again, from its histories alone; no broker is needed."""
    from harness.reporting import run_json

    stored = run_json.load(run)
    folder = run if run.is_dir() else run.parent
    if not stored.trials:
        raise UsageError(f"there is no trial in {folder}")
    again = msgspec.structs.replace(stored, trials=[_again(folder, one) for one in stored.trials])
    _show(again, folder)
    for before, after in zip(stored.trials, again.trials, strict=True):
        if before.verdict is not after.verdict or before.counts != after.counts:
            click.echo(f"{after.id}: was {before.verdict}, is {after.verdict}")
    return exit_status(again)


def _again(folder: Path, trial: TrialRecord) -> TrialRecord:
    """Judge a trial once more. A run folder may come from anybody: nothing outside of it is read,
    and whatever is wrong with it is one line. Raises UsageError."""
    from harness.trial import judged

    try:
        return msgspec.structs.replace(judged(_inside(folder, trial.bundle)), tries=trial.tries)
    except HarnessError:
        raise
    except Exception as error:  # it can be wrong in any way there is
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"{folder}: the trial {trial.id!r} cannot be judged: {why}") from error


def _inside(folder: Path, bundle: str) -> Path:
    """The folder of a trial. Raises UsageError for one that leads elsewhere."""
    at = folder / bundle
    if not at.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{folder}: {bundle!r} leads out of it")
    return at


def exit_status(record: RunRecord) -> int:
    """0 when every trial came out as expected, 1 for a wrong verdict, 2 for only unknowns; of a
    run that was cut short, never 0."""
    failed = [trial for trial in record.trials if not trial.passed]
    if record.failed or any(trial.verdict is not Outcome.UNKNOWN for trial in failed):
        return EXIT_BROKEN
    return EXIT_UNKNOWN if failed or record.errors or not record.complete else 0


def _interrupted(record: RunRecord, out: str) -> int:
    has_report = (Path(out) / record.run_id / "index.html").is_file()
    told = "the report has what there was until then" if has_report else "there is no report yet"
    click.echo(f"ackproof: interrupted; {told}", err=True)
    return EXIT_INTERRUPTED


def _scenarios() -> Path:
    """The scenarios that ship: bundled in the wheel, or beside the source."""
    from harness.workload import BUNDLED, SOURCE

    found = next((at for at in (BUNDLED, SOURCE) if (at / "scenarios").is_dir()), None)
    if found is None:
        raise UsageError("the scenarios that ship with Ackproof are not there", "Reinstall it.")
    return found / "scenarios"


def _run_trials(
    paths: tuple[Path, ...], scenarios: tuple[str, ...], *, measure: bool, **options: object
) -> RunRecord:
    """One pytest session over the scenario files. Raises HarnessError when nothing could run."""
    from harness import plugin
    from harness.progress import Progress

    asked = plugin.Asked(measure=measure, **options)  # type: ignore[arg-type]
    plugin.check_names(asked.brokers, asked.profiles)
    files = [file for path in paths for file in _files(path, studies=bool(scenarios))]
    chosen = _narrowed(files, scenarios)
    _writable(Path(asked.out))
    chosen = [file for file in chosen if not (measure and file.stem == "test_canary")]
    record = plugin.session(chosen, asked, Progress(_console()))
    _show(record, Path(asked.out) / record.run_id)
    return record


def _files(path: Path, *, studies: bool) -> list[Path]:
    """Those of a folder, the simplest first. What is in its ``studies/`` takes minutes and claims
    nothing: it is run by name."""
    if path.is_dir():
        found = sorted(path.rglob("test_*.py"), key=lambda file: (len(file.parts), file))
        return [one for one in found if studies or STUDIES not in one.relative_to(path).parts]
    if path.is_file():
        return [path]
    raise UsageError(f"no such scenario file or folder: {path}")


def _narrowed(files: list[Path], names: tuple[str, ...]) -> list[Path]:
    from harness.naming import known

    if not files:
        raise UsageError("no scenario files (test_*.py) there")
    by_name = {file.stem.removeprefix("test_"): file for file in files}
    for name in names:
        known(name, list(by_name), "scenario")
    return [by_name[name] for name in names] if names else files


def _writable(folder: Path) -> None:
    """Say so now if the output cannot be written, not after the trials."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".ackproof-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder} ({error.strerror})", "Choose a folder with --out."
        ) from error


def _show(record: RunRecord, folder: Path) -> None:
    """The reasons, the table, and where the report is."""
    from harness.reporting.summary import headline, one_line, tries_told
    from harness.reporting.table import reasons_lines, study_table

    console = _console()
    for line in reasons_lines(record):
        console.print(line)
    if record.trials:
        console.print(study_table(record, console.width))
    for told in tries_told(record.trials):
        console.print(f"tried again: {one_line(told)}", markup=False, highlight=False)
    missing = _told_once(record.not_run)
    for told in (*missing, *(f"failed: {line}" for line in record.failed)):
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{headline(record)} {record.duration_s:.0f} s.", highlight=False)
    if (folder / "index.html").is_file():
        console.print(f"report: {folder / 'index.html'}", soft_wrap=True, highlight=False)


def _told_once(not_run: list[str]) -> list[str]:
    """A line a reason, with the trials that did not run for it."""
    by_reason: dict[str, list[str]] = {}
    for line in not_run:
        name, _, why = line.partition(": ")
        by_reason.setdefault(why, []).append(name.rpartition("::")[2].removeprefix("test_"))
    return [f"not run: {', '.join(names)}: {why}" for why, names in by_reason.items()]


def _console() -> Console:
    """Wide enough for the table where nobody says how wide it is (a log, a pipe).

    Names stdout, because pytest's own output is turned aside while trials run.
    """
    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=PIPE_WIDTH)

"""The crash table and the tries it is made of, from records written by hand."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from harness import reporting
from harness.model import Counts, Fate, Outcome
from harness.rates import Rate
from harness.record import SCHEMA, FaultRecord, RunRecord, Timings, TrialRecord
from harness.reporting import crash_table, html
from harness.reporting.crash_table import Agreement, Column, Row, build, compare, told
from harness.reporting.tries import Tries, of_faults

MAIN = "SIGKILL of main"


def fault(step: str, *fates: str, landed: bool = True, kind: str = "sigkill") -> FaultRecord:
    hit: list[dict[str, object]] = [{"task_id": "t", "retries": 0, "fate": f} for f in fates]
    return FaultRecord(kind, "main", f"step({step}, nth=1)", 1.0, landed, {}, hit)


def trial(
    *faults: FaultRecord,
    broker: str = "redis",
    profile: str = "default",
    scenario: str = "crash_table-main",
) -> TrialRecord:
    return TrialRecord(
        id="x",
        scenario=scenario,
        broker=broker,
        profile=profile,
        settings={},
        faults=list(faults),
        counts=Counts(),
        timings=Timings(),
        verdict=Outcome.HOLDS,
        reasons=[],
        bundle="trials/x",
    )


def run(*trials: TrialRecord) -> RunRecord:
    return RunRecord(SCHEMA, "r", 1, 1.0, {}, list(trials))


def table(*trials: TrialRecord) -> crash_table.CrashTable:
    built = build(run(*trials))
    assert built is not None
    return built


def test_tries_are_the_messages_that_were_hit() -> None:
    """A fault that landed on nothing is no try, nor is one that did not land; an older record
    without a fate is a try of which the end is not known."""
    old = FaultRecord("sigkill", "main", "step(started, nth=1)", 1.0, True, {}, [{"task_id": "t"}])  # noqa: FBT003
    tries = of_faults([fault("started", "lost", "once"), fault("started"), old])
    assert (tries.planned, tries.hits, tries.known) == (3, 3, 2)
    assert str(tries.rate(Fate.LOST)).startswith("1/2 (")
    assert of_faults([fault("started", "lost", landed=False)]).hits == 0


def test_the_rows_are_in_the_order_of_a_life() -> None:
    """And apart by what died; columns by broker, then by profile from weak to strong."""
    late = trial(fault("finished", "once"), fault("received", "lost"), profile="hardened")
    early = trial(fault("started", "lost"), fault("started", "once", kind="raises"))
    built = table(late, early)
    assert built.rows == (
        Row("received", MAIN),
        Row("started", MAIN),
        Row("finished", MAIN),
        Row("started", "exception"),
    )
    assert built.columns == (Column("redis", "default"), Column("redis", "hardened"))


def test_what_a_cell_tells() -> None:
    """A fate that all tries share; random, with the intervals, where they differ; nothing where
    the step is not; a question where no try came to its end."""
    assert told(Tries(3, {Fate.LOST: 3})) == "lost 3"
    random = told(Tries(3, {Fate.ONCE: 1, Fate.LOST: 2}))
    assert random == f"random: once {Rate(1, 3)}, lost {Rate(2, 3)}"
    assert told(Tries(2, {Fate.UNKNOWN: 2})) == "? (of 2 tries)"
    assert told(None) == "\N{EN DASH}"
    assert told(Tries(1, {Fate.PENDING: 1})) == "once, still held 1"


def test_only_trials_of_the_table_are_in_it() -> None:
    """Another scenario's faults are no cells, and a run without any has no table."""
    assert build(run(trial(fault("started", "lost"), scenario="worker_sigkill"))) is None
    both = table(trial(fault("started", "lost")), trial(fault("sent", "once"), scenario="calm"))
    assert len(both.cells) == 1


def test_two_runs_agree_cell_by_cell() -> None:
    """The same certain fate; or random, with intervals that overlap. Two cells that are each
    certain and not the same differ, however few their tries; one that is not there is missing."""
    one = table(
        trial(
            fault("received", *["lost"] * 3),
            fault("sent", "lost", "once", "once"),
            fault("started", *["lost"] * 3),
            fault("finished", *["once"] * 3),
            fault("effect", *["once"] * 40, "lost"),
        )
    )
    other = table(
        trial(
            fault("received", *["lost"] * 3),
            fault("sent", *["once"] * 3),
            fault("started", *["once"] * 3),
            fault("effect", *["lost"] * 40, "once"),
        )
    )
    found = {row.step: how for (row, _), how in compare(one, other).items()}
    assert found == {
        "received": Agreement.SAME,
        "sent": Agreement.RANDOM,
        "started": Agreement.DIFFERS,
        "finished": Agreement.MISSING,
        "effect": Agreement.DIFFERS,
    }


def test_the_difference_of_two_runs_in_lines() -> None:
    """What is not the same is told, with both cells; a run does not differ from itself."""
    one = run(trial(fault("started", *["lost"] * 40)))
    other = run(trial(fault("started", *["once"] * 40)))
    lines, differ = crash_table.differences(one, other)
    assert differ
    assert lines[0] == f"started, {MAIN}, redis default: differs: lost 40 | once 40"
    assert crash_table.differences(one, one) == (
        ["crash table, 1 cells: 1 same, 0 random, 0 differs, 0 missing"],
        False,
    )
    assert crash_table.differences(one, run()) == ([], False)


def test_the_csv_has_every_cell() -> None:
    """With the tries, the fates and the bounds of each rate."""
    text = crash_table.as_csv(table(trial(fault("started", "lost", "lost"))))
    (line,) = csv.DictReader(io.StringIO(text))
    assert (line["step"], line["death"], line["broker"]) == ("started", MAIN, "redis")
    assert (line["hits"], line["lost"], line["once"]) == ("2", "2", "0")
    assert (line["lost_low"], line["lost_high"], line["once_low"]) == ("0.1581", "1.0000", "0.0000")


def test_it_is_left_beside_the_report(tmp_path: Path) -> None:
    """Of a run that measured it, and of no other."""
    reporting.write_all(run(trial(fault("started", "lost", "lost"))), tmp_path / "with")
    assert "| started | lost 2 |" in (tmp_path / "with" / "crash_table.md").read_text()
    assert (tmp_path / "with" / "crash_table.csv").is_file()
    assert '<td class="broken">lost 2</td>' in (tmp_path / "with" / "index.html").read_text()
    reporting.write_all(run(trial(fault("started", "lost"), scenario="calm")), tmp_path / "none")
    assert not list((tmp_path / "none").glob("crash_table*"))


def test_a_hostile_step_is_only_text() -> None:
    """A record may come from anybody: nothing of it becomes markup, or a column of the table."""
    hostile = trial(fault("<script>alert(1)</script>|", "lost"), broker="a|b\n<i>")
    drawn = crash_table.markdown(table(hostile))
    assert "<script>alert" not in drawn + html.render(run(hostile))
    assert "<i>" not in drawn
    for line in drawn.splitlines():
        if line.startswith("|"):
            assert line.count("|") - line.count("\\|") == 3, line

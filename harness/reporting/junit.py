"""``junit.xml``: one test case a trial, in the dialect that CI servers read.

A trial whose verdict is not the expected one is a failure, an ``unknown`` one an error;
counts, timings and reasons stand as properties.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import msgspec

from harness.model import Outcome
from harness.reporting.summary import clean, clock, headline, one_line, reasons_of, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.record import RunRecord, TrialRecord

_TEXT_LENGTH_MAX = 20_000


def render(record: RunRecord) -> bytes:
    """The whole file as UTF-8, valid XML whatever the record's texts contain."""
    root = ET.Element("testsuites", name="ackproof")
    tally = Counter(_fate(trial) for trial in record.trials)
    suite = ET.SubElement(
        root,
        "testsuite",
        name="ackproof",
        tests=str(len(record.trials)),
        failures=str(tally["failure"]),
        errors=str(tally["error"]),
        skipped="0",
        time=f"{record.duration_s:.3f}",
    )
    if record.started_at_s:
        suite.set("timestamp", clock(record.started_at_s).removesuffix(" UTC").replace(" ", "T"))
    _properties(suite, _run_facts(record))
    for trial in record.trials:
        _case(suite, trial)
    ET.SubElement(suite, "system-out").text = clean("\n".join([headline(record), *record.not_run]))
    ET.indent(root)
    packed: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return packed + b"\n"


def _fate(trial: TrialRecord) -> str:
    """``failure``, ``error``, or empty for a trial that passed."""
    if trial.passed:
        return ""
    return "error" if trial.verdict is Outcome.UNKNOWN else "failure"


def _case(suite: ET.Element, trial: TrialRecord) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=f"{one_line(trial.broker)}.{one_line(trial.profile)}",
        name=one_line(trial.scenario),
        time=f"{trial.timings.trial_s:.3f}",
    )
    _properties(case, _trial_facts(trial))
    fate = _fate(trial)
    if fate:
        reasons = [clean(reason) for reason in reasons_of(trial)]
        found = ET.SubElement(case, fate, type=trial.verdict.value, message=one_line(reasons[0]))
        found.text = shorten("\n".join(reasons), _TEXT_LENGTH_MAX)


def _properties(parent: ET.Element, facts: Iterable[tuple[str, object]]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in facts:
        text = shorten(clean(str(value)), _TEXT_LENGTH_MAX)
        ET.SubElement(properties, "property", name=one_line(name), value=text)


def _run_facts(record: RunRecord) -> Iterator[tuple[str, object]]:
    yield "run_id", record.run_id
    yield "seed", record.seed
    yield "time_scale", record.time_scale
    yield "complete", "true" if record.complete else "false"
    yield "command", record.command
    for part, version in sorted(record.versions.items()):
        yield f"version.{part}", version
    for line in record.not_run:
        yield "not_run", line


def _trial_facts(trial: TrialRecord) -> Iterator[tuple[str, object]]:
    """None stays out: an absent property says that nobody measured it."""
    yield "trial_id", trial.id
    yield "seed", trial.seed
    yield "verdict", trial.verdict.value
    yield "expected", trial.expected.value
    yield "bundle", trial.bundle
    measured = {"count": trial.counts, "timing": trial.timings}
    for group, values in measured.items():
        for name, value in msgspec.structs.asdict(values).items():
            if value is not None:
                yield f"{group}.{name}", value
    for fault in trial.faults:
        yield "fault", f"{fault.kind} on {fault.target}, {'landed' if fault.landed else 'missed'}"
    for reason in trial.reasons:
        yield "reason", reason
    for earlier in trial.tries:
        yield "earlier_try", f"{earlier.bundle}: unknown: {'; '.join(earlier.reasons)}"

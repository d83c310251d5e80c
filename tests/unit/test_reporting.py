"""The four files of a report say what the record says, whatever strings it holds."""

from __future__ import annotations

import json
import re
import uuid
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from random import Random
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness.model import Counts, Outcome, UsageError
from harness.record import (
    SCHEMA,
    FaultRecord,
    RunRecord,
    StrandedMessage,
    Timings,
    TrialRecord,
    Try,
)
from harness.reporting import html, junit, run_json, summary, table, write_all
from tests.searching import examples

BROKERS = ("redis", "rabbitmq", "sqs")
PROFILES = ("default", "hardened")
CLAIMS = {
    "child_sigkill": "A pool child killed in the middle of a task loses nothing.",
    "worker_sigkill": "A worker killed in the middle of a task loses nothing.",
    "spot_notice": "A notice shorter than the running tasks loses nothing.",
    "connection_reset": "A reset broker connection neither loses nor doubles a task.",
    "network_stall": "A link that stalls for longer than the heartbeat loses nothing.",
    "calm": "With no fault nothing is lost and nothing runs twice.",
}
HOSTILE = (
    "<script>alert('x')</script>",
    "]]><!-- & </property>",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x00\x08\x0b\x7f\x9b\ufffe",
    'javascript:alert(1)" onmouseover="alert(2)',
    "`code` | cell @someone #12 **bold** [link](https://example.org) $x$",
    "right-to-left \u202e gnp.exe, half a pair \ud83d, line\r\nbreaks\r\n",
    "[bold red]markup[/bold red] [/]",
    "{{ 7 * 7 }} {% raw %}",
    "long " * 20_000,
)
COUNT_NAMES = [
    "attempted",
    "confirmed",
    "rejected",
    "indeterminate",
    "completed",
    "lost",
    "stranded",
    "late",
    "duplicate_executions",
    "overlapping_executions",
    "duplicate_effects",
    "unexpected",
]


def sample_record(seed: int = 7) -> RunRecord:
    """A study as it comes out: 3 brokers, 2 profiles, 6 scenarios. Numbers are invented."""
    random = Random(seed)  # noqa: S311
    trials = [
        _sample_trial(random, scenario, broker, profile)
        for scenario in CLAIMS
        for broker in BROKERS
        for profile in PROFILES
    ]
    return RunRecord(
        schema=SCHEMA,
        run_id="2026-01-14T09-12-44-study",
        seed=seed,
        time_scale=1.0,
        versions={
            "ackproof": "0.1.0",
            "celery": "5.7.0",
            "kombu": "5.7.0",
            "moto": "5.1.18",
            "python": "3.11.7",
            "rabbitmq-server": "3.10.8",
            "redis-server": "7.0.15",
            "toxiproxy": "2.12.0",
        },
        trials=trials,
        command=f"ackproof study --seed {seed}",
        machine="Linux 6.1 x86_64, 2 cores",
        started_at_s=1_768_381_964.0,
        duration_s=54.2,
        jobs=18,
    )


def _sample_trial(random: Random, scenario: str, broker: str, profile: str) -> TrialRecord:
    ident = f"{scenario}-{broker}-{profile}"
    counts, reasons, stranded = Counts(40, 40, completed=40, duplicate_effects=0), [], []
    recovery: float | None = None if scenario == "calm" else round(random.uniform(0.8, 9), 2)
    dies = scenario in {"child_sigkill", "worker_sigkill", "spot_notice"}
    verdict = Outcome.HOLDS
    if profile == "default" and dies:
        lost = 1 if scenario == "child_sigkill" else 4
        held = 12 if broker == "redis" and scenario == "worker_sigkill" else 0
        verdict = Outcome.BROKEN
        reasons = [f"lost {lost} of 40 confirmed messages", f"lost: {_id(random)}"]
        if held:
            reasons.append(f"stranded {held}: held unacknowledged, back in 3594 s at the latest")
            stranded = [
                StrandedMessage(_id(random), 0, "unacked", 3594.0, "visibility timeout 3600 s")
                for _ in range(held)
            ]
        counts = Counts(
            40, 40, completed=40 - lost - held, lost=lost, stranded=held, duplicate_effects=0
        )
    elif profile == "hardened" and scenario != "calm":
        counts = Counts(
            40,
            40,
            completed=40,
            late=2,
            duplicate_executions=random.randrange(1, 5),
            overlapping_executions=int(scenario == "network_stall"),
            duplicate_effects=None if broker == "sqs" else random.randrange(2),
        )
    if (scenario, broker, profile) == ("network_stall", "sqs", "default"):
        verdict = Outcome.UNKNOWN
        reasons = ["the fault did not land: no byte was in flight while the link was stalled"]
    return TrialRecord(
        id=ident,
        scenario=scenario,
        broker=broker,
        profile=profile,
        settings=_sample_settings(broker, profile),
        faults=[] if scenario == "calm" else [_sample_fault(random, scenario, verdict)],
        counts=counts,
        timings=Timings(recovery, 21.0, 8.0, 0.4, round(random.uniform(6, 30), 2)),
        verdict=verdict,
        reasons=reasons,
        bundle=f"trials/{ident}",
        claim=CLAIMS[scenario],
        horizon=[
            "visibility timeout 10 s (broker_transport_options, live)",
            "restore interval 10 s (kombu 5.7.0, unacked_restore_interval)",
            "margin 1 s",
        ],
        stranded=stranded,
        seed=random.randrange(2**31),
    )


def _sample_settings(broker: str, profile: str) -> dict[str, object]:
    return {
        "broker_transport_options": {"visibility_timeout": 10, "global_keyprefix": "t7:"},
        "broker_url": f"{broker}://127.0.0.1:41733/7",
        "broker_connection_retry_on_startup": True,
        "task_acks_late": profile == "hardened",
        "task_reject_on_worker_lost": profile == "hardened",
        "worker_prefetch_multiplier": 1 if profile == "hardened" else 4,
    }


def _sample_fault(random: Random, scenario: str, verdict: Outcome) -> FaultRecord:
    landed = verdict is not Outcome.UNKNOWN
    return FaultRecord(
        kind=scenario.removeprefix("child_").removeprefix("worker_"),
        target="worker-1",
        trigger="step(started, nth=10)",
        fired_at_s=round(random.uniform(0.5, 4), 2),
        landed=landed,
        evidence={
            "pid": 31415,
            "exits": [{"pid": 31415 + n, "status": None, "signal": 9} for n in range(4)],
            "broker": {"ready": 21, "unacked": 4},
            "log_tail": "[2026-01-14] [INFO/MainProcess] mingle: all alone\n[ERROR] lost worker",
        },
        hit=[
            {"task_id": _id(random), "retries": 0, "last_step": step}
            for step in ("started", "started", "effect", "received")
        ],
    )


def _id(random: Random) -> str:
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def plain_trial(**changes: object) -> TrialRecord:
    """The smallest trial that holds, with ``changes``."""
    trial = TrialRecord(
        id="t",
        scenario="calm",
        broker="redis",
        profile="default",
        settings={},
        faults=[],
        counts=Counts(),
        timings=Timings(),
        verdict=Outcome.HOLDS,
        reasons=[],
        bundle="trials/t",
    )
    return msgspec.structs.replace(trial, **changes)


def run_of(*trials: TrialRecord, **changes: object) -> RunRecord:
    record = RunRecord(SCHEMA, "r", 7, 1.0, {}, list(trials))
    return msgspec.structs.replace(record, **changes)


def hostile_record(text: str) -> RunRecord:
    """A record with ``text`` in every place that can hold one."""
    trial = TrialRecord(
        id=text,
        scenario=text,
        broker=text,
        profile=text,
        settings={text: text, "nested": {text: [text]}},
        faults=[
            FaultRecord(
                text, text, text, 1.0, landed=True, evidence={text: text}, hit=[{text: text}]
            )
        ],
        counts=Counts(),
        timings=Timings(),
        verdict=Outcome.BROKEN,
        reasons=[text, text],
        bundle=text,
        claim=text,
        horizon=[text],
        stranded=[StrandedMessage(text, 0, text, None, text)],
    )
    return RunRecord(SCHEMA, text, 7, 1.0, {text: text}, [trial], text, text, not_run=[text])


def in_terminal(record: RunRecord, *, width: int = 100, colour: bool = False) -> str:
    console = Console(file=StringIO(), width=width, force_terminal=colour, no_color=not colour)
    console.print(*table.reasons_lines(record), table.study_table(record, width), sep="\n")
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def outside_code(markdown: str) -> str:
    """What GitHub would act on: everything but the code spans."""
    return re.sub(r"(?<![\\`])(`+)(?!`).+?(?<!`)\1(?!`)", "", markdown)


class _Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def ids(self) -> list[str]:
        return [value for name, value in self.attributes if name == "id"]

    @property
    def links(self) -> list[str]:
        return [value for name, value in self.attributes if name in {"src", "href"}]


# ---------------------------------------------------------------- run.json


def test_a_record_comes_back_as_it_went(tmp_path: Path) -> None:
    """Written and read again, from the folder or from the file, a record is the same."""
    record = sample_record()
    file = run_json.write(record, tmp_path / "new" / "run")
    assert run_json.load(file) == run_json.load(file.parent) == record
    assert [path.name for path in file.parent.iterdir()] == ["run.json"]


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_objects = st.dictionaries(st.text(max_size=20), _json_values, max_size=3)
_records = st.builds(
    run_of,
    st.builds(
        plain_trial,
        id=st.text(),
        reasons=st.lists(st.text(), max_size=3),
        settings=_objects,
        counts=st.builds(Counts, lost=st.integers(0, 9), duplicate_effects=st.none()),
        timings=st.builds(Timings, recovery_s=st.none() | st.floats(0, 1e9)),
        verdict=st.sampled_from(Outcome),
        faults=st.lists(
            st.builds(FaultRecord, *[st.text()] * 3, st.none(), st.booleans(), _objects), max_size=2
        ),
    ),
    run_id=st.text(),
    complete=st.booleans(),
)


@settings(max_examples=examples(50))
@given(_records)
def test_any_record_round_trips_and_renders(record: RunRecord) -> None:
    """No text, number or object of a record is changed by run.json, or breaks a renderer."""
    packed = run_json.encode(record)
    assert msgspec.json.decode(packed, type=RunRecord) == record
    assert run_json.encode(msgspec.json.decode(packed, type=RunRecord)) == packed
    ET.fromstring(junit.render(record))  # noqa: S314
    html.render(record)
    summary.render(record)
    in_terminal(record)


def test_names_are_the_contract() -> None:
    """run.json has every name that DESIGN.md promises, and all counts."""
    run = json.loads(run_json.encode(sample_record()))
    assert run["schema"] == "ackproof/run/1"
    assert {"schema", "run_id", "seed", "time_scale", "versions", "trials"} <= run.keys()
    trial = run["trials"][0]
    assert set(trial) >= {
        "id",
        "scenario",
        "broker",
        "profile",
        "settings",
        "faults",
        "counts",
        "timings",
        "verdict",
        "reasons",
        "bundle",
    }
    assert set(trial["faults"][0]) >= {
        "kind",
        "target",
        "trigger",
        "fired_at_s",
        "landed",
        "evidence",
    }
    assert set(trial["counts"]) >= set(COUNT_NAMES)
    assert set(trial["timings"]) >= {"recovery_s", "horizon_s", "useful_work_s", "wasted_work_s"}
    assert {t["verdict"] for t in run["trials"]} == {"holds", "broken", "unknown"}


def test_equal_records_give_equal_bytes() -> None:
    """The order in which evidence was put together does not show."""
    one = run_of(plain_trial(settings={"b": 1, "a": 2}))
    other = run_of(plain_trial(settings={"a": 2, "b": 1}))
    assert run_json.encode(one) == run_json.encode(other)


def test_what_is_no_json_does_not_cost_the_report(tmp_path: Path) -> None:
    """A path in the evidence, or half a surrogate pair in a log line, is written as text."""
    trial = plain_trial(settings={"folder": tmp_path, "line": "caf\udce9"})
    write_all(run_of(trial), tmp_path)
    assert run_json.load(tmp_path).trials[0].settings == {
        "folder": str(tmp_path),
        "line": "caf\\udce9",
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "torn"),
        ('{"schema": "ackproof/run/1", "trials": [{"id"', "torn"),
        ("\x00\x00", "torn"),
        ('{"schema": "ackproof/run/9"}', "schema 'ackproof/run/9'; this version reads"),
        ("{}", "schema ''"),
        ('{"schema": "ackproof/run/1"}', "missing required field"),
        ("[]", "not a run's record"),
    ],
)
def test_a_bad_file_gets_one_line(tmp_path: Path, content: str, says: str) -> None:
    """Torn, foreign and future files are told apart, each in one line."""
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        run_json.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_wrong_path_gets_one_line_and_the_near_run(tmp_path: Path) -> None:
    """A missing run names the closest one; a folder of runs is told from a run."""
    run_json.write(run_of(), tmp_path / "run-0141")
    with pytest.raises(UsageError, match=r"No such run: .*Did you mean .*run-0141\?"):
        run_json.load(tmp_path / "run-0142")
    with pytest.raises(UsageError, match=r"Not a run folder: .*Did you mean .*run-0141\?"):
        run_json.load(tmp_path)
    with pytest.raises(UsageError, match="No such run") as caught:
        run_json.load(tmp_path / "absent" / "a\nb\x1b[2J")
    assert str(caught.value).isprintable()


def test_a_folder_that_cannot_be_written_gets_one_line(tmp_path: Path) -> None:
    """A file where the run's folder should be is refused in a sentence, with the way out."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match=r"Cannot write .*--out"):
        write_all(run_of(), tmp_path / "taken" / "run")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """A second report replaces the first and leaves no draft behind."""
    write_all(sample_record(), tmp_path)
    write_all(run_of(), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"run.json", "summary.md", "junit.xml", "index.html"}
    assert run_json.load(tmp_path) == run_of()


# ---------------------------------------------------------------- the words


def test_the_headline_counts_verdicts_and_landed_faults() -> None:
    """One sentence says how many hold, and names the kind of fault that missed."""
    assert summary.headline(sample_record()) == (
        "36 trials: 26 hold, 9 broken, 1 unknown; 29 of 30 faults landed (network_stall 5 of 6)."
    )
    assert summary.headline(run_of()) == "No trial ran to its end."
    cut = run_of(plain_trial(), complete=False)
    assert summary.headline(cut).startswith("Interrupted after 1 trial: 1 hold")


def test_a_colour_means_a_verdict() -> None:
    """Green holds, red broken, amber unknown; a canary that holds is never green."""
    canary = {"expected": Outcome.BROKEN}
    assert html.tone(plain_trial()) == "holds"
    assert html.tone(plain_trial(verdict=Outcome.UNKNOWN)) == "unknown"
    assert html.tone(plain_trial(verdict=Outcome.BROKEN, **canary)) == "broken"
    assert html.tone(plain_trial(**canary)) == "broken"


@pytest.mark.parametrize(
    ("verdict", "expected", "words"),
    [
        (Outcome.BROKEN, Outcome.HOLDS, "broken"),
        (Outcome.BROKEN, Outcome.BROKEN, "broken (as expected)"),
        (Outcome.HOLDS, Outcome.BROKEN, "holds (expected broken)"),
        (Outcome.UNKNOWN, Outcome.BROKEN, "unknown (expected broken)"),
    ],
)
def test_every_form_says_whether_a_verdict_was_expected(
    verdict: Outcome, expected: Outcome, words: str
) -> None:
    """A canary that broke is told from a finding, in each of the four forms."""
    record = run_of(plain_trial(verdict=verdict, expected=expected))
    assert words in summary.render(record)
    assert words in html.render(record)
    assert words in in_terminal(record)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (float("inf"), "\N{EN DASH}"),
        (0.0, "0 s"),
        (0.42, "0.42 s"),
        (1.94, "1.9 s"),
        (21.0, "21.0 s"),
        (119.4, "119 s"),
        (119.6, "2 min"),
        (3594.0, "59 min 54 s"),
        (3600.0, "60 min"),
        (43200.0, "12 h 00 min"),
    ],
)
def test_durations_are_for_people(seconds: float | None, text: str) -> None:
    """Seconds while they are few, then minutes, then hours; None is a dash."""
    assert summary.duration(seconds) == text


def test_a_broken_default_comes_before_the_table_and_unknown_after_it_in_reasons() -> None:
    """The Markdown gives reasons first, worst first, then the table with every trial."""
    text = summary.render(sample_record())
    order = ["36 trials", "What did not hold", "lost 1 of 40", "did not land", "### Trials"]
    positions = [text.index(part) for part in order]
    assert positions == sorted(positions)
    assert text.count("\n| ") == 36 + 2
    assert "`ackproof study --seed 7`" in text


def test_markdown_of_an_interrupted_run_says_what_did_not_run() -> None:
    """An interrupted run says so in its first line, and why the rest is missing."""
    text = summary.render(run_of(complete=False, not_run=["calm on sqs: no moto"]))
    assert text.startswith("**No trial ran to its end: interrupted.**")
    assert "- calm on sqs: no moto" in text


# ---------------------------------------------------------------- hostile strings


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(tmp_path: Path, text: str) -> None:
    """Nothing from outside becomes a tag, an address, an escape sequence or broken XML."""
    record = hostile_record(text)
    write_all(record, tmp_path)
    page = _Page((tmp_path / "index.html").read_text())
    assert set(page.tags).isdisjoint({"script", "iframe", "img", "object", "form"})
    assert all(name != "style" and not name.startswith("on") for name, _ in page.attributes)
    assert all(link.startswith(("#", "./", "data:,")) for link in page.links)
    ET.fromstring((tmp_path / "junit.xml").read_bytes())  # noqa: S314
    for content in (*map(Path.read_text, tmp_path.glob("*.[hmx]*")), in_terminal(record)):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", content)
    assert "<script" not in outside_code((tmp_path / "summary.md").read_text())
    assert (tmp_path / "index.html").stat().st_size < 200_000
    assert run_json.load(tmp_path).trials[0].verdict is Outcome.BROKEN


def test_markdown_notifies_and_links_nobody() -> None:
    """A task name such as @someone or #12 in a reason is shown, not acted on by GitHub."""
    text = summary.render(hostile_record(HOSTILE[4]))
    assert "@someone" in text
    assert "@someone" not in outside_code(text)
    assert r"\[link\]" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {10}


def test_terminal_reads_no_markup() -> None:
    """Square brackets of a reason are printed, not taken for rich's markup."""
    record = run_of(plain_trial(verdict=Outcome.BROKEN, reasons=["[bold]x[/bold]"]))
    assert "[bold]x[/bold]" in in_terminal(record)


# ---------------------------------------------------------------- JUnit


def test_junit_has_a_case_a_trial_with_its_fate() -> None:
    """Broken is a failure, unknown an error, a canary that broke passes."""
    canary = plain_trial(scenario="canary", verdict=Outcome.BROKEN, expected=Outcome.BROKEN)
    blind = plain_trial(scenario="blind", expected=Outcome.BROKEN)
    record = run_of(*sample_record().trials, canary, blind)
    suite = ET.fromstring(junit.render(record)).find("testsuite")  # noqa: S314
    assert suite is not None
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["38", "10", "1"]
    cases = {(c.get("classname"), c.get("name")): c for c in suite.iter("testcase")}
    broken = cases["redis.default", "worker_sigkill"].find("failure")
    assert broken is not None
    assert (broken.get("message") or "").startswith("lost 4 of 40")
    assert "stranded 12" in (broken.text or "")
    assert cases["sqs.default", "network_stall"].find("error") is not None
    assert cases["redis.default", "canary"].find("failure") is None
    assert cases["redis.default", "blind"].find("failure") is not None


def test_junit_leaves_out_what_nobody_measured() -> None:
    """A count of None is an absent property, never a zero."""
    record = run_of(plain_trial(counts=Counts(lost=2, duplicate_effects=None)))
    root = ET.fromstring(junit.render(record))  # noqa: S314
    found = {p.get("name"): p.get("value") for p in root.iter("property")}
    assert found["count.lost"] == "2"
    assert "count.duplicate_effects" not in found


# ---------------------------------------------------------------- HTML


def test_html_is_one_file_that_asks_nobody() -> None:
    """No script, no address outside the run folder, every fragment leads somewhere."""
    text = html.render(sample_record())
    page = _Page(text)
    assert len(text.encode()) < 300_000
    assert "script" not in page.tags
    assert not re.search(r"(?:src|href)\s*=\s*.?\s*(?:https?:)?//|url\(|@import", text)
    assert len(page.ids) == len(set(page.ids))
    fragments = {link[1:] for link in page.links if link.startswith("#")}
    assert len(fragments) == 36
    assert fragments <= set(page.ids)
    assert "./trials/calm-sqs-default/" in page.links


def test_html_shows_every_part_of_a_trial() -> None:
    """Claim, reasons, evidence, hit messages, horizon, stranded and settings are there."""
    record = sample_record()
    trial = next(trial for trial in record.trials if trial.stranded)
    text = _Page(html.render(run_of(trial))).text
    for part in (
        trial.claim,
        *trial.reasons,
        *trial.horizon,
        *(message.task_id for message in trial.stranded),
        "59 min 54 s",
        "step(started, nth=10)",
        "mingle: all alone",
        "task_reject_on_worker_lost",
        str(trial.faults[0].hit[0]["task_id"]),
    ):
        assert part in text


def test_html_of_nothing_and_of_half_a_run() -> None:
    """An empty run renders, and an interrupted one says so and what did not run."""
    assert "No trial ran to its end" in html.render(run_of())
    text = html.render(run_of(plain_trial(), complete=False, not_run=["calm on sqs: no moto"]))
    assert "This run was interrupted" in text
    assert "calm on sqs: no moto" in text


@pytest.mark.parametrize(
    ("bundle", "link"),
    [
        ("trials/a b", "./trials/a%20b/"),
        ("javascript:alert(1)", "./javascript%3Aalert%281%29/"),
        ("//example.org/x", "./example.org/x/"),
        ("../../etc", ""),
        ("", ""),
    ],
)
def test_a_bundle_link_stays_in_the_run(bundle: str, link: str) -> None:
    """A stored record cannot make the page lead out of its own folder."""
    assert html.bundle_link(bundle) == link


# ---------------------------------------------------------------- the terminal


@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_shows_a_study_on_one_screen(width: int) -> None:
    """36 trials and their reasons take 50 lines of 100 columns; at 80 nothing is cut either."""
    lines = in_terminal(sample_record(), width=width).splitlines()
    assert len(lines) <= (50 if width == 100 else 60)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)


def test_the_terminal_leaves_out_no_reason_silently() -> None:
    """More reasons than lines are counted in the last line."""
    lines = table.reasons_lines(sample_record(), lines_max=3)
    assert [line.plain for line in lines][-1] == "and 7 more, in summary.md"


def test_colour_is_for_terminals_only() -> None:
    """Escape sequences appear when there is a terminal with colours, else never."""
    assert "\x1b[" in in_terminal(sample_record(), colour=True)
    assert "\x1b" not in in_terminal(sample_record())


def test_every_form_tells_of_earlier_tries() -> None:
    """A trial that was tried again passes by its last try, and no report hides the others."""
    earlier = Try(id="calm-redis-0", bundle="trials/calm-redis-0", reasons=["baseline not met"])
    record = run_of(plain_trial(tries=[earlier]))
    told = "try 1 of 2 was unknown: baseline not met"
    assert summary.tries_told(record.trials)[0].endswith(told)
    assert told in summary.render(record)
    assert "1 tried again, having been unknown" in summary.headline(record)
    for text in (html.render(record), junit.render(record).decode()):
        assert "trials/calm-redis-0" in text
        assert "baseline not met" in text
    assert "tried again" not in summary.headline(run_of(plain_trial()))

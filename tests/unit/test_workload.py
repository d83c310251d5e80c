"""A workload is read from its folder, and its commands are filled in for each trial."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness import workload
from harness.model import UsageError
from harness.workload import PROBE, Workload

TOML = """
worker = "celery -A app worker --pool {pool} -n {name}@%h"
producer = "python 'produce it.py' --tasks {tasks} --store '{trial_dir}/my store'"
effects = "python effects.py"
effect = "app:charge"

[env]
STORE = "{trial_dir}/store"

[options]
variant = "naive"
"""
VALUES = {"name": "worker-1", "pool": "solo", "tasks": 3, "trial_dir": "/tmp/a b"}  # noqa: S108


def write(folder: Path, text: str = TOML) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "workload.toml").write_text(text)
    return folder


def load(tmp_path: Path, text: str = TOML) -> Workload:
    write(tmp_path / "mine", text)
    return workload.load("mine", tmp_path)


def test_every_field(tmp_path: Path) -> None:
    """What is in the file is in the workload."""
    found = load(tmp_path)
    assert found.folder == tmp_path / "mine"
    assert found.effect == "app:charge"
    assert found.effects == "python effects.py"
    assert found.options == {"variant": "naive"}


def test_a_worker_and_a_producer_are_enough(tmp_path: Path) -> None:
    """The rest is optional."""
    found = load(tmp_path, 'worker = "w"\nproducer = "p"\n')
    assert (found.effects, found.effect, found.env, found.options) == ("", "", {}, {})


def test_fields_are_filled_in(tmp_path: Path) -> None:
    """Numbers too; a percent sign means nothing to us."""
    found = load(tmp_path)
    assert found.command(found.worker, VALUES) == (
        ["celery", "-A", "app", "worker", "--pool", "solo", "-n", "worker-1@%h"]
    )


def test_spaces_stay_inside_a_word(tmp_path: Path) -> None:
    """A command is split before it is filled in: no folder's name can break it."""
    found = load(tmp_path)
    assert found.command(found.producer, VALUES) == (
        ["python", "produce it.py", "--tasks", "3", "--store", "/tmp/a b/my store"]  # noqa: S108
    )


def test_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's, without pytest's own and without keys to AWS; this interpreter's commands
    first, and the probe and the app in reach."""
    monkeypatch.setenv("MINE", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-x")
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    env = load(tmp_path).environment(VALUES)
    assert (env["MINE"], env["STORE"]) == ("1", "/tmp/a b/store")  # noqa: S108
    assert not {"PYTEST_ADDOPTS", "AWS_PROFILE"} & set(env)
    assert env["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    paths = [str(PROBE), str(tmp_path / "mine"), "/elsewhere"]
    assert env["PYTHONPATH"].split(os.pathsep) == paths


def test_found_from_below(tmp_path: Path) -> None:
    """Looked for from the scenario's own folder upwards; the nearest counts."""
    write(tmp_path / "workloads" / "mine", TOML)
    near = tmp_path / "scenarios" / "deep"
    near.mkdir(parents=True)
    assert workload.load("workloads/mine", near).folder == tmp_path / "workloads" / "mine"
    write(near / "workloads" / "mine", TOML)
    assert workload.load("workloads/mine", near).folder == near / "workloads" / "mine"


def test_found_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For scenarios that are stored elsewhere."""
    write(tmp_path / "here" / "mine")
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "there").mkdir()
    assert workload.load("mine", tmp_path / "there").folder == tmp_path / "here" / "mine"


def test_the_sample_ships(tmp_path: Path) -> None:
    """From anywhere."""
    assert workload.load("workloads/ledger", tmp_path).effect == "ledger.store:charge"


def test_one_that_is_not_there(tmp_path: Path) -> None:
    """One line that says what a workload is."""
    with pytest.raises(UsageError, match=r"^no workload 'none'\. A workload is a folder with"):
        workload.load("none", tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TOML.replace("producer", "producr"), r"producr.*Did you mean producer\?$"),
        (TOML.replace("producer", "zzz"), r"zzz.*Keys are worker, producer, effects"),
        ('worker = "w"\n', r"missing required field `producer`.*Keys are"),
        ('worker = 1\nproducer = "p"', r"Expected `str`, got `int` - at `\$\.worker`"),
        ("worker = ", r"Invalid value \(at (line 1|end of)"),
    ],
    ids=["near", "far", "missing", "type", "syntax"],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str, line: str) -> None:
    """One line that names the file, the key, and the near or the known ones."""
    with pytest.raises(UsageError, match=line) as raised:
        load(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path}/mine/workload.toml: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    """One line too."""
    (write(tmp_path / "mine") / "workload.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"workload\.toml: "):
        workload.load("mine", tmp_path)


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("w {nam}", r"'\{nam\}' has a field that is not known\. Did you mean \{name\}\?$"),
        ("w {zzz}", r"that is not known\. Known are name, pool, tasks, trial_dir; a brace"),
        ("w {}", r"that is not known\. Known are"),
        ("w {name", r"'\{name' has a field that is not known\. Known are"),
        ("w {name.x}", r"that is not known\. Known are"),
        ("w 'open", r"No closing quotation$"),
    ],
)
def test_a_placeholder_that_is_not_known(tmp_path: Path, template: str, line: str) -> None:
    """One line that names the file and the placeholder."""
    found = load(tmp_path)
    with pytest.raises(UsageError, match=line) as raised:
        found.command(template, VALUES)
    assert str(raised.value).startswith(f"{tmp_path}/mine/workload.toml: ")


def test_braces_of_ones_own(tmp_path: Path) -> None:
    """Doubled, they are braces: JSON in a command."""
    assert load(tmp_path).command('w \'{{"a": "{name}"}}\'', VALUES) == ["w", '{"a": "worker-1"}']


@pytest.mark.parametrize("template", ["", "   ", "# nothing"])
def test_an_empty_command(tmp_path: Path, template: str) -> None:
    """Said as such, and not by whoever would run it."""
    with pytest.raises(UsageError, match="a command is empty"):
        load(tmp_path).command(template.partition("#")[0], VALUES)


def test_a_nul(tmp_path: Path) -> None:
    """No command and no variable can have one in it."""
    found = load(tmp_path, TOML.replace('"{trial_dir}/store"', r'"a\u0000b"'))
    for ask in (lambda: found.environment(VALUES), lambda: found.command("a\0b", VALUES)):
        with pytest.raises(UsageError, match="has a NUL in it"):
            ask()

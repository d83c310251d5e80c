"""The probe runs inside the user's worker: it may import Celery's libraries and the stdlib.

import-linter does not see the probe, which is a package of its own on PYTHONPATH.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness

PROBE = Path(harness.__file__).parent / "probe"
ALLOWED = {
    "ackproof_probe",
    "ackproof_steps",
    "billiard",
    "celery",
    "kombu",
    *sys.stdlib_module_names,
}


def imported(source: str) -> Iterator[str]:
    """Top-level names of the modules that a source imports, wherever it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    "path", sorted(PROBE.rglob("*.py")), ids=lambda path: str(path.relative_to(PROBE))
)
def test_the_probe_stands_alone(path: Path) -> None:
    """An app without our dependencies must still run with the probe in it."""
    assert set(imported(path.read_text())) <= ALLOWED


def test_there_is_a_probe_to_look_at() -> None:
    """A moved folder must not pass as one without imports."""
    assert list(PROBE.rglob("*.py"))


def test_what_the_rule_forbids_is_seen() -> None:
    """An import inside a function counts, and so does one of the engine."""
    source = "import os\ndef f() -> None:\n    from harness.model import Event\n"

    assert set(imported(source)) - ALLOWED == {"harness"}

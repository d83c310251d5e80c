"""Breaks the judge on purpose, and asks its tests to notice: `make mutants`.

    sources and tests ──▶ build/mutants/ ──▶ mutmut ──▶ killed, survived, and which

mutmut changes one thing at a time (a comparison, a number, a name of an event, an argument)
and runs the tests that reach it. A mutant that no test kills is a verdict nobody checks.
What is mutated stands in pyproject.toml under ``[tool.mutmut]``; what kills them are the unit
tests below. The environment has the locked dependencies and not Ackproof itself, so the copy
is the only one that can be imported; mutmut sees to it that the copy passes as it is, and
fails when its functions raise. What runs into its time limit is killed, in effect: it hangs.
Constants of modules, and words in f-strings, are not mutated.

Exits with 1 when 5 % or more survive.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutants"
VENV = ROOT / "build" / "mutants-venv"
ALIVE_MAX = 0.05
TESTS = (
    "test_check*.py",
    "test_counting*.py",
    "test_drain*.py",
    "test_fates.py",
    "test_history*.py",
    "test_judge*.py",
    "test_outcome*.py",
    "test_rates*.py",
    "test_tries*.py",
)
PROFILE = '''\
"""Under mutation: the same examples every time, and no search for the smallest failure."""

from hypothesis import Phase, settings

settings.register_profile(
    "mutants", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("mutants")
'''


def copy() -> None:
    """The sources, the tests of the judge, and the configuration, in a folder of their own."""
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "tests" / "unit").mkdir(parents=True)
    shutil.copytree(ROOT / "harness", WORK / "harness")
    shutil.copy(ROOT / "pyproject.toml", WORK)
    for file in (ROOT / "tests").glob("*.py"):
        shutil.copy(file, WORK / "tests")
    for pattern in TESTS:
        for file in (ROOT / "tests" / "unit").glob(pattern):
            shutil.copy(file, WORK / "tests" / "unit")
    (WORK / "conftest.py").write_text(PROFILE)
    for file in (WORK / "harness").rglob("*.py"):
        file.write_text(undecorated(file.read_text()))


def undecorated(source: str) -> str:
    """``@property def x`` as ``def x; x = property(x)``, which is the same.

    mutmut leaves decorated functions alone, and a history derives everything in them.
    """
    lines = source.splitlines()
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    functions = [one for each in classes for one in each.body if isinstance(one, ast.FunctionDef)]
    for function in sorted(functions, key=lambda one: one.lineno, reverse=True):
        names = [name.id for name in function.decorator_list if isinstance(name, ast.Name)]
        if names in (["property"], ["cached_property"]):
            at, end = function.decorator_list[0].lineno, function.end_lineno or function.lineno
            call = f"{' ' * function.col_offset}{function.name} = {names[0]}({function.name})"
            lines[at - 1 : end] = [*lines[at:end], "", call]
    return "\n".join(lines) + "\n"


def environment() -> Path:
    """The folder of an environment with the lock's dependencies and mutmut, without Ackproof."""
    tools = ROOT / ".tools"
    uvs = [shutil.which("uv"), *(tools / name / "bin" / "uv" for name in ("uv-venv", "uv-target"))]
    uv = next((found for found in uvs if found and Path(found).exists()), None)
    if uv is None:
        sys.exit("uv is missing: `make setup` installs it")
    subprocess.run(
        [uv, "sync", "--quiet", "--frozen", "--no-install-project", "--group", "mutation"],
        cwd=ROOT,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(VENV), "UV_PYTHON": sys.executable},
        check=True,
    )
    return VENV / "bin"


def mutmut(programs: Path, *arguments: str) -> str:
    """One command of mutmut in the copy, and what it prints; that goes into a file as well."""
    log = WORK / f"{arguments[0]}.log"
    with log.open("w") as told:
        done = subprocess.run(
            [programs / "mutmut", *arguments],
            cwd=WORK,
            stdout=told,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        sys.exit(f"mutmut {arguments[0]} failed; the last of {log}:\n{log.read_text()[-2000:]}")
    return log.read_text()


def main() -> None:
    began_s = time.monotonic()
    copy()
    print(f"mutants: this takes some ten minutes; progress is in {WORK / 'run.log'}", flush=True)
    programs = environment()
    mutmut(programs, "run", "--max-children", "2")
    mutmut(programs, "export-cicd-stats")
    found = json.loads((WORK / "mutants" / "mutmut-cicd-stats.json").read_text())
    print(mutmut(programs, "results"), end="")
    killed, timeout, total = found["killed"], found["timeout"], found["total"]
    alive = total - killed - timeout
    print(
        f"{total} mutants: {killed} killed, {timeout} timed out, {alive} survived "
        f"({100 * alive / total:.1f} %) in {time.monotonic() - began_s:.0f} s; "
        f"`mutmut show NAME` in {WORK} shows one"
    )
    if alive >= ALIVE_MAX * total:
        sys.exit(f"{100 * ALIVE_MAX:.0f} % or more of the mutants are alive")


if __name__ == "__main__":
    main()

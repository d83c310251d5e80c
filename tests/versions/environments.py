"""Throw-away environments with an older Celery, below ``.tools/celery/``; built once, by uv.

Each has the kombu of its time, for a deployment that stays with an old Celery stays with its
kombu as well. Several pytest-xdist workers share them: who comes first builds.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

from harness.model import MissingPartError

TOOLS = Path(__file__).parents[2] / ".tools"
PINS = {
    # Its kombu reads SQS's old protocol, which boto3 left with 1.28; and its own pin of pycurl
    # has no wheel any more, while a new pycurl serves.
    "5.2.7": ("celery==5.2.7", "kombu==5.2.4", "redis==4.3.6", "boto3==1.26.165", "pycurl"),
    "5.3.6": ("celery[redis,sqs]==5.3.6", "kombu==5.3.7"),
    "5.4.0": ("celery[redis,sqs]==5.4.0", "kombu==5.4.2"),
    "5.5.3": ("celery[redis,sqs]==5.5.3", "kombu==5.5.4"),
    "5.6.3": ("celery[redis,sqs]==5.6.3", "kombu==5.6.2"),
}


def environment(version: str) -> Path:
    """Its ``bin`` folder. Raises MissingPartError when it cannot be built."""
    folder = TOOLS / "celery" / version
    folder.parent.mkdir(parents=True, exist_ok=True)
    stamp = folder / "pins"
    told = "\n".join(PINS[version])
    with (folder.parent / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != told:
            shutil.rmtree(folder, ignore_errors=True)
            _uv("venv", "--python", sys.executable, str(folder))
            _uv("pip", "install", "--python", str(folder / "bin" / "python"), *PINS[version])
            stamp.write_text(told)
    return folder / "bin"


def _uv(*words: str) -> None:
    candidates = ["uv", *(str(TOOLS / name / "bin" / "uv") for name in ("uv-venv", "uv-target"))]
    found = next(filter(None, map(shutil.which, candidates)), None)
    if found is None:
        raise MissingPartError("uv was not found", "Run scripts/setup.sh")
    done = subprocess.run([found, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingPartError(f"uv {words[0]} failed: {done.stderr.strip()[-500:]}")

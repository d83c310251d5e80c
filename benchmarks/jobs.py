"""What running many trials at once gains: the same study with few and with many."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import compare, timed

PAIRS = 3
FEW, MANY = 2, 12


def study(jobs: int) -> float:
    command = [str(Path(sys.executable).parent / "ackproof"), "study", "--jobs", str(jobs)]
    with tempfile.TemporaryDirectory() as out:
        return timed(
            lambda: subprocess.run([*command, "--out", out], check=True, stdout=subprocess.DEVNULL)
        )


def main() -> None:
    compare(f"{MANY} jobs", f"{FEW} jobs", PAIRS, lambda: study(MANY), lambda: study(FEW))


if __name__ == "__main__":
    main()

"""Runs Python as a process that ends with its parent, from its first moment on (Linux).

    pytest's controller ──▶ python -I -S dying.py PID ... ──exec──▶ python ...

pytest-xdist's workers import for a second, on a busy machine for many, before they could ask for
that themselves; and until then only an end-of-file that they do not read yet tells them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, *arguments = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it died before we asked
        sys.exit(1)
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


if __name__ == "__main__":
    main()

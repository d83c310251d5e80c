"""The store outside the broker: a SQLite file, one row an effect.

``LEDGER_STORE`` names the file. ``synchronous=OFF`` leaves the writing to the kernel: a
row survives the death of the process, which is all that is asked of it here.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    order_id INTEGER NOT NULL,
    task_id  TEXT    NOT NULL,
    retries  INTEGER NOT NULL,
    pid      INTEGER NOT NULL,
    at_s     REAL    NOT NULL
)
"""
CHARGE = "INSERT INTO charges VALUES (?, ?, ?, ?, ?)"
CHARGE_ONCE = """
INSERT INTO charges SELECT ?, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM charges WHERE order_id = ?)
"""


def _open() -> sqlite3.Connection:
    connection = sqlite3.connect(os.environ["LEDGER_STORE"], timeout=30, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute(SCHEMA)
    return connection


def charge(order: int, *, task_id: str, retries: int, idempotent: bool) -> None:
    """Charge ``order``; with ``idempotent``, only if nobody has."""
    row = (order, task_id, retries, os.getpid(), time.time())
    with closing(_open()) as connection:
        if idempotent:
            connection.execute(CHARGE_ONCE, (*row, order))
        else:
            connection.execute(CHARGE, row)


def charges() -> Iterator[tuple[str, int, float]]:
    """Every effect that was applied: task id, retry number, when (Unix seconds)."""
    with closing(_open()) as connection:
        yield from connection.execute("SELECT task_id, retries, at_s FROM charges ORDER BY rowid")

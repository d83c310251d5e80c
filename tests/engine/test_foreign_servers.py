"""An app that names servers of its own is led away from them, however it names them; and ended
before it connects, where it would go to one all the same.

No server is there: an address is asked for, and nothing is connected.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.workload import PROBE

OURS = "redis://127.0.0.1:1/0"
OUR_RESULTS = "redis://127.0.0.1:1/1"
HOST = "production.example"
THEIRS = f"redis://:secret@{HOST}:6379/3"
QUEUES = f"{{'celery': {{'url': 'https://{HOST}/1/celery'}}}}"
LED = {
    "argument": f"app = Celery('a', broker='{THEIRS}', backend='{THEIRS}')",
    "setting": f"app = Celery('a'); app.conf.broker_url = app.conf.result_backend = '{THEIRS}'",
    "read and write": (
        f"app = Celery('a'); app.conf.broker_read_url = '{THEIRS}'\n"
        f"app.conf.broker_write_url = app.conf.result_backend = '{THEIRS}'"
    ),
    "object": (
        f"class C: broker_url = broker_read_url = result_backend = '{THEIRS}'\n"
        "app = Celery('a'); app.config_from_object(C)"
    ),
    "read before it is set": (
        "app = Celery('a'); app.conf.task_acks_late\n"
        f"app.conf.update(broker_read_url='{THEIRS}', result_backend='{THEIRS}')"
    ),
    "environment": "app = Celery('a')",
    "the option -b": (
        f"import os; os.environ['CELERY_BROKER_URL'] = '{THEIRS}'\n"
        f"app = Celery('a', backend='{THEIRS}')"
    ),
}
ASK = """
import json
told = {
    "read": app.connection_for_read().as_uri(include_password=True),
    "write": app.connection_for_write().as_uri(include_password=True),
    "backend": app.backend.as_uri() if hasattr(app.backend, "as_uri") else repr(app.backend),
    "kind": type(app.backend).__name__,
}
print(json.dumps(told))
"""


class Asked(NamedTuple):
    """Where the app would connect to; and what its probe wrote."""

    status: int
    said: str
    told: dict[str, str]
    events: list[dict[str, object]]

    def of(self, kind: str) -> list[dict[str, object]]:
        return [dict(one["data"]) for one in self.events if one["kind"] == kind]  # type: ignore[call-overload]


def asked(tmp_path: Path, app: str, *, code: str = ASK, **env: str) -> Asked:
    events, results = tmp_path / "events", tmp_path / "results"
    events.mkdir()
    results.mkdir()
    given = {
        "CELERY_BROKER_URL": OURS,
        "CELERY_BROKER_READ_URL": OURS,
        "CELERY_BROKER_WRITE_URL": OURS,
        "ACKPROOF_BROKER": OURS,
        "ACKPROOF_RESULTS": json.dumps({"redis": OUR_RESULTS, "file": f"file://{results}"}),
        "ACKPROOF_EVENTS": str(events),
        "ACKPROOF_ROLE": "worker-1",
        "ACKPROOF_SETTINGS": json.dumps({"broker_url": OURS}),
        "PYTHONPATH": str(PROBE),
        "PATH": os.environ["PATH"],
    }
    ended = subprocess.run(
        [sys.executable, "-c", f"from celery import Celery\n{app}\n{code}"],
        env={**given, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    lines = [line for file in events.iterdir() for line in file.read_text().splitlines()]
    told = json.loads(ended.stdout) if ended.stdout else {}
    return Asked(ended.returncode, ended.stderr, told, [json.loads(line) for line in lines])


@pytest.mark.parametrize("app", LED)
def test_every_address_is_ours(tmp_path: Path, app: str) -> None:
    """Broker and results, wherever the app names them."""
    env = {"CELERY_RESULT_BACKEND": THEIRS} if app == "environment" else {}
    found = asked(tmp_path, LED[app], **env)
    assert found.status == 0, found.said
    assert HOST not in str(found.told)
    assert found.told["read"].startswith("redis://127.0.0.1:1/0")
    assert found.told["write"].startswith("redis://127.0.0.1:1/0")
    assert found.told["backend"].startswith(OUR_RESULTS)
    assert found.of("results_led") == [{"named": f"redis://{HOST}:6379", "to": "redis"}]
    assert "secret" not in json.dumps(found.events)


REFUSED = {
    "the environment, set by the app": (
        f"import os; os.environ['CELERY_BROKER_READ_URL'] = '{THEIRS}'\napp = Celery('a')",
        "the variable CELERY_BROKER_READ_URL",
    ),
    "a connection of its own": (
        f"app = Celery('a'); app.connection('{THEIRS}')",
        "an address in its code",
    ),
    "a place to fail over to": (
        f"app = Celery('a'); app.connection('{OURS};{THEIRS}')",
        "an address in its code",
    ),
    "another port of this machine": (
        "app = Celery('a'); app.connection('redis://localhost:6379')",
        "an address in its code",
    ),
    "a port that is none": (
        "app = Celery('a'); app.connection('redis://127.0.0.1:1/0;redis://127.0.0.1:x/0')",
        "an address in its code",
    ),
    "a queue of SQS": (
        f"app = Celery('a', broker_transport_options={{'predefined_queues': {QUEUES}}})",
        "predefined_queues in broker_transport_options",
    ),
    "results of a kind that we have not": (
        f"app = Celery('a', backend='mongodb://:secret@{HOST}:27017/x')",
        "result_backend",
    ),
    "memcached": (f"app = Celery('a', backend='cache+memcached://{HOST}/')", "result_backend"),
    "a table of AWS": ("app = Celery('a', backend='dynamodb')", "result_backend"),
    "results in a database, for which we have no SQLite": (
        f"app = Celery('a', backend='db+postgresql://:secret@{HOST}/x')",
        "result_backend",
    ),
}


@pytest.mark.parametrize("app", REFUSED)
def test_where_it_would_go_elsewhere_it_is_ended(tmp_path: Path, app: str) -> None:
    """Before it connects: the address, without its password, and by what it was named."""
    code, by = REFUSED[app]
    found = asked(tmp_path, code)
    assert found.status == 78, found.said
    (told,) = found.of("foreign_server")
    assert told["by"] == by
    assert found.said.startswith(f"ackproof: ended: {by} leads to ")
    assert found.said.count("\n") == 1
    assert "secret" not in found.said + json.dumps(found.events)


@pytest.mark.parametrize(
    ("backend", "kind"),
    [
        ("None", "DisabledBackend"),
        ("'disabled'", "DisabledBackend"),
        ("'rpc://'", "RPCBackend"),
        ("'cache+memory://'", "CacheBackend"),
        ("'celery.backends.base:DisabledBackend'", "DisabledBackend"),
    ],
)
def test_a_backend_that_reaches_nobody_stays(tmp_path: Path, backend: str, kind: str) -> None:
    """There is nothing to lead away."""
    found = asked(tmp_path, f"app = Celery('a', backend={backend})")
    assert found.told["kind"] == kind
    assert not found.of("results_led")


def test_files_are_led_into_the_trials_folder(tmp_path: Path) -> None:
    """But for those that the trial itself names."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    found = asked(tmp_path, f"app = Celery('a', backend='file://{theirs}')")
    assert found.told["kind"] == "FilesystemBackend"
    (led,) = found.of("results_led")
    assert led["to"] == "file"
    asks = json.dumps({"broker_url": OURS, "result_backend": f"file://{theirs}"})
    (tmp_path / "again").mkdir()
    found = asked(tmp_path / "again", "app = Celery('a')", ACKPROOF_SETTINGS=asks)
    assert found.told["kind"] == "FilesystemBackend"
    assert not found.of("results_led")


def test_without_a_trial_nothing_is_led(tmp_path: Path) -> None:
    """The probe is harmless where nobody told it of a broker."""
    code = ASK.replace("app.backend", "None")
    found = asked(tmp_path, f"app = Celery('a', broker='{THEIRS}')", code=code, ACKPROOF_BROKER="")
    assert found.status == 0, found.said

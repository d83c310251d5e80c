"""A trial talks to the servers of its run, whatever the app names: beside it stands "production",
which is never so much as connected to."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_unexpected_tasks import no_unexpected_tasks
from harness.model import Outcome, StartError
from harness.scenario import Scenario
from harness.workload import Workload
from tests.trials import QUIETLY, Trials

pytestmark = pytest.mark.slow

APP = '''
import os
import sys

from celery import Celery

{first}
app = Celery("mine", broker="{url}", backend="{results}")
app.conf.broker_read_url = app.conf.broker_write_url = "{url}"


@app.task
def work():
    """Do nothing."""
    return 1


if __name__ == "__main__":
    {publish}
'''
PUBLISH = "[work.delay() for _ in range(3)]"
REFUSED = {
    "a variable that the app sets": (
        'os.environ["CELERY_BROKER_READ_URL"] = "{url}"',
        PUBLISH,
        r"worker-1 was about to connect to redis://127.0.0.1:\d+, named by the variable",
    ),
    "a connection of the producer's own": (
        "",
        'work.apply_async(connection=app.connection("{url}"))',
        r"producer was about to connect to redis://127.0.0.1:\d+, named by broker_read_url",
    ),
}


class Production:
    """Listens, and counts who comes."""

    def __init__(self) -> None:
        self.visits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._welcome, daemon=True).start()

    def url(self, broker: str) -> str:
        at = f"127.0.0.1:{self.port}"
        urls = {"redis": f"redis://:secret@{at}/0", "sqs": f"sqs://key:secret@{at}"}
        return urls.get(broker, f"amqp://guest:guest@{at}//")

    def close(self) -> None:
        self._listener.close()

    def _welcome(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.visits += 1
            visitor.close()


@pytest.fixture
def production() -> Iterator[Production]:
    production = Production()
    yield production
    production.close()


def app(folder: Path, url: str, results: str, first: str = "", publish: str = PUBLISH) -> Workload:
    """Its worker's command names production too (``-b``), and so does its environment."""
    first, publish = first.format(url=url), publish.format(url=url)
    text = APP.format(url=url, results=results, first=first, publish=publish)
    (folder / "mine.py").write_text(text)
    return Workload(
        worker=f"celery -A mine -b {url} worker --concurrency 1 --pool solo {QUIETLY}",
        producer="python -m mine",
        env={"CELERY_BROKER_URL": url, "CELERY_BROKER_WRITE_URL": url},
        folder=folder,
    )


SCENARIO = Scenario(
    tasks=3, pool="solo", concurrency=1, checks=[no_lost_tasks(), no_unexpected_tasks()]
)


@pytest.mark.parametrize(
    "broker",
    ["redis", *(pytest.param(name, marks=pytest.mark.full) for name in ("rabbitmq", "sqs"))],
)
def test_production_is_never_connected_to(
    trials: Trials, tmp_path: Path, production: Production, broker: str
) -> None:
    """Named as an argument, a setting, an option and a variable, and for the results: the trial
    runs on its own servers all the same."""
    workload = app(tmp_path, production.url(broker), production.url("redis"))
    record = trials.run(SCENARIO, workload, broker)
    assert record.verdict is Outcome.HOLDS, record.reasons
    assert (record.counts.confirmed, record.counts.completed) == (3, 3)
    assert production.visits == 0
    history = trials.history(record)
    (led,) = {event.data["named"] for event in history.of("results_led")}
    assert led == f"redis://127.0.0.1:{production.port}"
    # The servers' passwords are for their clients alone.
    (ready,) = history.of("worker_ready")
    assert "redis://:**@" in str(ready.data["settings"])
    assert not re.search(r"://[^/@'\s]*:[^*/@'\s]+@", str(history.events))


@pytest.mark.parametrize("way", REFUSED)
def test_where_it_cannot_be_led_away_the_trial_ends(
    trials: Trials, tmp_path: Path, production: Production, way: str
) -> None:
    """In one line, which says who would have connected to what, and by what it was named."""
    first, publish, said = REFUSED[way]
    workload = app(tmp_path, production.url("redis"), "rpc://", first, publish)
    with pytest.raises(StartError, match=said) as refused:
        trials.run(SCENARIO, workload, "redis")
    assert "secret" not in str(refused.value)
    assert production.visits == 0

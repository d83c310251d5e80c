"""The probe without a worker: how it gets in, what it writes, and that it harms nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.follower import Follower
from harness.model import Event
from tests.patience import PATIENCE_S

PROBE = Path(harness.__file__).parent / "probe"

Python = Callable[..., str]


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """Runs code in a process that finds the probe first, as a worker does; gives its output.
    Modules are found in ``tmp_path``, events go to ``tmp_path/events``."""
    (tmp_path / "events").mkdir()

    def python(code: str, *, ends: int = 0, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join([str(PROBE), str(tmp_path)]),
                "PYTHONDONTWRITEBYTECODE": "1",
                "ACKPROOF_EVENTS": str(tmp_path / "events"),
                "ACKPROOF_ROLE": "worker-1",
                **env,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == ends, done.stderr
        assert ends or not done.stderr, done.stderr
        return done.stdout

    return python


def events(folder: Path) -> list[Event]:
    """Everything that was written, as the engine reads it, in order of time."""
    return sorted(Follower(folder / "events").poll(), key=lambda event: event.mono_s)


def test_a_watched_module_can_be_run_by_its_name(python: Python, tmp_path: Path) -> None:
    """``python -m NAME`` asks the loader of a module for its code: one file may hold the app, its
    effect and its producer."""
    (tmp_path / "shop.py").write_text("def pay(): ...\nprint(__name__)")
    code = "import runpy; runpy.run_module('shop', run_name='__main__')"
    assert python(code, ACKPROOF_EFFECT="shop:pay") == "__main__\n"


def kinds(folder: Path) -> list[str]:
    return [event.kind for event in events(folder)]


def module(folder: Path, name: str, source: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(source)


# -- getting in --------------------------------------------------------------------------

LOOK = """
import sys
print("ackproof_probe" in sys.modules, [f for f in sys.meta_path if type(f).__name__ == "_Finder"])
"""


def test_nothing_is_installed_unless_asked(python: Python) -> None:
    """Without ACKPROOF_EVENTS the folder on PYTHONPATH changes nothing."""
    assert python(LOOK, ACKPROOF_EVENTS="").strip() == "False []"


def test_the_probe_is_installed_before_the_app(python: Python) -> None:
    """With it, the probe is there when the first line of the app runs."""
    assert python(LOOK).startswith("True [<")


@pytest.mark.parametrize("asked", ["yes", ""])
def test_the_users_own_sitecustomize_still_runs(python: Python, tmp_path: Path, asked: str) -> None:
    """The one further down the path, once, after the probe and with it or without it."""
    module(tmp_path, "sitecustomize.py", "import sys; print('mine', __name__, len(sys.meta_path))")
    env = {} if asked else {"ACKPROOF_EVENTS": ""}
    bare = int(python("import sys; print(len(sys.meta_path))", **env).split()[-1])
    assert python("print('app')", **env).splitlines() == [f"mine sitecustomize {bare}", "app"]


def test_the_probe_twice_on_the_path(python: Python, tmp_path: Path) -> None:
    """Named twice, or by a relative name, it does not find itself."""
    path = os.pathsep.join([str(PROBE), os.path.relpath(PROBE, tmp_path), str(tmp_path)])
    module(tmp_path, "sitecustomize.py", "print('mine')")
    assert python("print('app')", PYTHONPATH=path).split() == ["mine", "app"]


def test_no_other_sitecustomize_is_fine(python: Python) -> None:
    """Most users have none."""
    assert python("print('app')").strip() == "app"


# -- hooks on imports --------------------------------------------------------------------

HOOK = """
from ackproof_probe.imports import when_imported
called = []
def hook(module):
    called.append(module.__name__)
    module.VALUE = "hooked"
"""


def test_a_hook_comes_before_anyone_can_use_the_module(python: Python, tmp_path: Path) -> None:
    """Who imports a name from the module gets what the hook has put there; it is called once."""
    module(tmp_path, "target.py", "VALUE = 'plain'")
    module(tmp_path, "user.py", "from target import VALUE")
    code = HOOK + "when_imported('target', hook)\nimport user, target\nfrom target import VALUE\n"
    assert python(code + "print(called, user.VALUE)") == "['target'] hooked\n"


def test_a_module_that_is_there_already(python: Python, tmp_path: Path) -> None:
    """The hook is called at once."""
    module(tmp_path, "target.py", "VALUE = 'plain'")
    code = HOOK + "import target\nwhen_imported('target', hook)\nprint(called, target.VALUE)"
    assert python(code) == "['target'] hooked\n"


def test_several_hooks_come_in_their_order(python: Python, tmp_path: Path) -> None:
    """Each is called, the first first."""
    module(tmp_path, "target.py", "")
    code = HOOK + "\nfor n in (1, 2):\n    when_imported('target', lambda _, n=n: called.append(n))"
    assert python(code + "\nimport target\nprint(called)") == "[1, 2]\n"


def test_a_module_that_is_never_imported(python: Python) -> None:
    """Nothing is imported for the hook's sake, and one that does not exist stays missing."""
    code = (
        HOOK + "when_imported('nowhere', hook)\ntry:\n    import nowhere\nexcept ImportError as e:"
    )
    assert python(code + "\n    print(e, called)") == "No module named 'nowhere' []\n"


def test_a_module_that_fails_to_import(python: Python, tmp_path: Path) -> None:
    """Its own error comes through, the hook is not called; it is once the import succeeds."""
    module(tmp_path, "target.py", "import os\nVALUE = os.environ['NEEDED']")
    code = (
        HOOK
        + """
when_imported("target", hook)
import os
try:
    import target
except KeyError as error:
    print(error, called)
os.environ["NEEDED"] = "x"
import target
print(target.VALUE, called)
"""
    )
    assert python(code).splitlines() == ["'NEEDED' []", "hooked ['target']"]


def test_packages_and_their_modules(python: Python, tmp_path: Path) -> None:
    """A module inside a package, imported by the package itself: each hook when its own
    module is complete."""
    module(tmp_path, "pack/__init__.py", "from pack.inner import VALUE")
    module(tmp_path, "pack/inner.py", "VALUE = 'plain'")
    code = HOOK + "for n in ('pack', 'pack.inner'): when_imported(n, hook)\n"
    code += "import pack.inner\nprint(called, pack.inner.VALUE, pack.VALUE)"
    assert python(code) == "['pack.inner', 'pack'] hooked hooked\n"


def test_a_hooked_module_looks_as_ever(python: Python, tmp_path: Path) -> None:
    """Its loader, its resources, its source: as if nobody had been there."""
    module(tmp_path, "pack/__init__.py", "def f(): pass\n")
    module(tmp_path, "pack/data.txt", "data")
    code = (
        HOOK
        + """
when_imported("pack", hook)
import importlib, importlib.resources, inspect, pkgutil, pack
print(type(pack.__loader__).__name__, pack.__spec__.loader is pack.__loader__)
print(importlib.resources.files("pack").joinpath("data.txt").read_text())
print(pkgutil.get_data("pack", "data.txt"))
print(inspect.getsource(pack.f).strip())
print(importlib.reload(pack) is pack, called)
"""
    )
    assert python(code).splitlines() == [
        "SourceFileLoader True",
        "data",
        "b'data'",
        "def f(): pass",
        "True ['pack']",
    ]


# -- writing -----------------------------------------------------------------------------

RECORD = (
    "import os, sys, time, ackproof_probe.record as r\nfrom ackproof_probe.record import record\n"
)


def test_an_event_is_a_line_that_the_engine_reads(python: Python, tmp_path: Path) -> None:
    """Who, what, when on both clocks, and whatever else was said."""
    out = python(
        RECORD
        + "a = time.time(), time.monotonic()\n"
        + "record('started', 'id-1', 2, 'app.task', where={'x': [1, None]})\n"
        + "print(*a, time.time(), time.monotonic(), os.getpid())"
    )
    at_s, mono_s, at_end_s, mono_end_s, pid = map(float, out.split())
    (event,) = events(tmp_path)
    assert (event.kind, event.task_id, event.retries) == ("started", "id-1", 2)
    assert (event.task, event.role, event.pid) == ("app.task", "worker-1", pid)
    assert event.data == {"where": {"x": [1, None]}}
    assert at_s <= event.at_s <= at_end_s
    assert mono_s <= event.mono_s <= mono_end_s


def test_an_event_of_no_task(python: Python, tmp_path: Path) -> None:
    """None where there is no task or no retry number is none, not the word; an id that is a
    number is its name."""
    python(RECORD + "record('ready', None, None, None)\nrecord('started', 5)")
    first, second = events(tmp_path)
    assert (first.task_id, first.retries, first.task) == ("", 0, "")
    assert second.task_id == "5"


def test_sigkill_loses_nothing_that_was_recorded(python: Python, tmp_path: Path) -> None:
    """The line is with the kernel when ``record`` returns."""
    code = RECORD + "for n in range(500): record('step', str(n))\nos.kill(os.getpid(), 9)"
    python(code, ends=-signal.SIGKILL)
    assert [event.task_id for event in events(tmp_path)] == [str(n) for n in range(500)]


def test_a_forked_child_has_a_file_of_its_own(python: Python, tmp_path: Path) -> None:
    """What parent and child write never meets in one file."""
    python(
        RECORD
        + """
record("before")
if os.fork() == 0:
    record("child")
    os._exit(0)
os.wait()
record("after")
"""
    )
    by_file = [
        {line.split('"')[3] for line in path.read_text().splitlines()}
        for path in (tmp_path / "events").iterdir()
    ]
    assert sorted(map(sorted, by_file)) == [["after", "before"], ["child"]]
    before, child, after = events(tmp_path)
    assert before.pid == after.pid != child.pid


def test_threads_write_whole_lines(python: Python, tmp_path: Path) -> None:
    """One write a line, appended: four threads do not tear each other's."""
    python(
        RECORD
        + """
from threading import Thread
def work(n):
    for i in range(50): record("step", f"{n}-{i}", text="x" * 3000)
threads = [Thread(target=work, args=(n,)) for n in range(4)]
for t in threads: t.start()
for t in threads: t.join()
"""
    )
    found = {event.task_id for event in events(tmp_path)}
    assert found == {f"{n}-{i}" for n in range(4) for i in range(50)}


def test_a_folder_that_cannot_be_written(python: Python, tmp_path: Path) -> None:
    """``record`` does not raise; the next event that can be written says how many are gone,
    and the one after it has nothing to say."""
    folder = tmp_path / "events"
    folder.rmdir()
    python(
        RECORD
        + """
record("one"); record("two")
os.mkdir(os.environ["ACKPROOF_EVENTS"])
record("three"); record("four")
"""
    )
    three, four = events(tmp_path)
    assert (three.kind, three.data) == ("three", {"events_missed_before": 2})
    assert (four.kind, four.data) == ("four", {})


def test_a_disk_that_fills_up_in_the_middle_of_a_line(python: Python, tmp_path: Path) -> None:
    """Half a line is taken back: it neither spoils the next nor passes for an event."""
    python(
        RECORD
        + """
import resource
record("one")
size = os.stat(r._path).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
record("two")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
record("three")
"""
    )
    one, three = events(tmp_path)
    assert (one.kind, three.kind, three.data) == ("one", "three", {"events_missed_before": 1})


def test_nobody_comes_to_tell_of_it(python: Python, tmp_path: Path) -> None:
    """Where no further event follows, a mark tells that some are missing: it has its space, and
    needs none on a disk that is full."""
    mark = tmp_path / "events" / "missed"
    mark.write_text("0")
    python(
        RECORD
        + """
import resource
record("one")
size = os.stat(r._path).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
record("two")
"""
    )
    assert mark.read_text() == "1"
    assert [event.kind for event in events(tmp_path)] == ["one"]


FULL = """
set -e
mount -t tmpfs -o size=128k tmpfs "$ACKPROOF_EVENTS"
printf 0 > "$ACKPROOF_EVENTS/missed"
"$0" -c "$1"
cat "$ACKPROOF_EVENTS/missed"
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="mounts a small disk"
)
def test_the_mark_is_left_on_a_disk_that_is_full(tmp_path: Path) -> None:
    """Of a real one, not a byte of which is free."""
    code = (
        RECORD
        + """
record("one")
with open(os.path.join(os.environ["ACKPROOF_EVENTS"], "filler"), "wb", 0) as filler:
    try:
        while filler.write(b"x" * 512): pass
    except OSError: pass
for number in range(100): record("two", text="x" * 500)
"""
    )
    told = subprocess.run(
        ["unshare", "--mount", "sh", "-c", FULL, sys.executable, code],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROBE),
            "ACKPROOF_EVENTS": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "1"


def test_values_that_are_not_json(python: Python, tmp_path: Path) -> None:
    """Anything can be said of a message: what JSON does not know is given as its repr, and
    the line stays one that a strict reader takes."""
    python(
        RECORD
        + """
class Bad:
    def __repr__(self): raise RuntimeError
circle = []
circle.append(circle)
record("object", value=b"x", other={1, 1}, bad=Bad(), fine=1)
record("nan", value=float("nan"), fine=1)
record("key", value={(1, 2): 3}, fine=1)
record("circle", value=circle, bad=Bad(), fine=1)
record("surrogate", value="a\\ud83dz", fine=1)
record("big", value=10**30, text="line\\nbreak\\u2028", fine=1)
"""
    )
    data = {event.kind: event.data for event in events(tmp_path)}
    bad = "<Bad, whose repr raised RuntimeError>"
    assert data["object"] == {"value": "b'x'", "other": "{1}", "bad": bad, "fine": 1}
    assert data["nan"] == {"value": "nan", "fine": "1"}
    assert data["key"] == {"value": "{(1, 2): 3}", "fine": "1"}
    assert data["circle"] == {"value": "[[...]]", "bad": bad, "fine": "1"}
    assert data["surrogate"] == {"value": "a?z", "fine": 1}
    assert data["big"] == {"value": 10**30, "text": "line\nbreak\u2028", "fine": 1}


def test_what_was_missed_stays_a_number(python: Python, tmp_path: Path) -> None:
    """Also in an event of which everything else had to be given as its repr."""
    (tmp_path / "events").rmdir()
    code = "record('one')\nos.mkdir(os.environ['ACKPROOF_EVENTS'])\nrecord('two', x=float('nan'))"
    python(RECORD + code)
    (two,) = events(tmp_path)
    assert two.data == {"x": "nan", "events_missed_before": 1}


# -- Celery ------------------------------------------------------------------------------

SHOP = """
from celery import Celery
app = Celery("shop", broker="memory://", backend="cache+memory://")
app.conf.result_backend = None

def charge(order):
    if order == "refused":
        raise ValueError(order)
    return order

@app.task(name="shop.pay")
def pay(order):
    charge(order)
    if order == "exit":
        raise SystemExit(1)
"""


def test_a_publish_is_an_invoke_and_an_outcome(python: Python, tmp_path: Path) -> None:
    """An ok when it went, fail when it surely did not, info when nobody can know. The app sees
    the same errors as ever. Retries are in the identity."""
    module(tmp_path, "shop.py", SHOP)
    python(
        """
import kombu.exceptions
from shop import app, pay
pay.apply_async(("x",), task_id="good")
pay.apply_async(("x",), task_id="again", retries=2)
try:
    pay.apply_async((object(),), task_id="odd")
    raise AssertionError
except kombu.exceptions.EncodeError:
    pass
app.conf.task_publish_retry = False
try:
    with app.connection_for_write("amqp://127.0.0.1:1//") as connection:
        pay.apply_async(("x",), task_id="who-knows", connection=connection)
    raise AssertionError
except kombu.exceptions.OperationalError:
    pass
"""
    )
    found = [(e.kind.removeprefix("publish_"), e.task_id, e.retries) for e in events(tmp_path)]
    assert found == [
        ("invoke", "good", 0),
        ("ok", "good", 0),
        ("invoke", "again", 2),
        ("ok", "again", 2),
        ("invoke", "odd", 0),
        ("fail", "odd", 0),
        ("invoke", "who-knows", 0),
        ("info", "who-knows", 0),
    ]
    assert {event.task for event in events(tmp_path)} == {"shop.pay"}


def test_an_acknowledgement_is_recorded_once_it_is_done(python: Python, tmp_path: Path) -> None:
    """Acked, rejected for good, rejected to be requeued either way; one that fails is no
    acknowledgement. What is no task is left alone."""
    module(tmp_path, "shop.py", SHOP)
    python(
        """
import kombu
from shop import app, pay
with app.connection() as connection:
    queue = app.amqp.queues["celery"](connection.default_channel)
    queue.declare()
    def get(name):
        pay.apply_async(("x",), task_id=name, retries=1, connection=connection)
        return queue.get()
    message = get("acked")
    message.ack()
    try:
        message.ack()
        raise AssertionError
    except message.MessageStateError:
        pass
    get("dropped").reject()
    get("back").reject(requeue=True)
    queue.get().ack()
    get("too").requeue()
    queue.get().ack()
    connection.Producer().publish("hello", exchange="", routing_key="celery")
    queue.get().ack()
"""
    )
    found = [
        (event.kind, event.task_id, event.retries, event.data.get("requeue"))
        for event in events(tmp_path)
        if not event.kind.startswith("publish")
    ]
    assert found == [
        ("acked", "acked", 1, None),
        ("acked_error", "acked", 1, None),
        ("rejected", "dropped", 1, False),
        ("rejected", "back", 1, True),
        ("acked", "back", 1, None),
        ("rejected", "too", 1, True),
        ("acked", "too", 1, None),
    ]


def test_how_a_body_ended(python: Python, tmp_path: Path) -> None:
    """Well, badly, or torn off by SystemExit: then Celery's postrun comes by with no state,
    which is no end. That it returned is known before its result is stored. The effect is
    recorded when it is applied, not when it was refused."""
    module(tmp_path, "shop.py", SHOP)
    python(
        """
from shop import pay
pay.apply(("x",), task_id="well")
pay.apply(("refused",), task_id="badly")
try:
    pay.apply(("exit",), task_id="torn")
    raise AssertionError
except SystemExit:
    pass
""",
        ACKPROOF_EFFECT="shop:charge",
    )
    found = [(event.task_id, event.kind, event.data.get("state")) for event in events(tmp_path)]
    assert found == [
        ("well", "started", None),
        ("well", "effect_begin", None),
        ("well", "effect", None),
        ("well", "returned", None),
        ("well", "finished", "SUCCESS"),
        ("badly", "started", None),
        ("badly", "effect_begin", None),
        ("badly", "failed", None),
        ("badly", "finished", "FAILURE"),
        ("torn", "started", None),
        ("torn", "effect_begin", None),
        ("torn", "effect", None),
        ("torn", "finished", "None"),
    ]


def test_an_effect_outside_a_task(python: Python, tmp_path: Path) -> None:
    """The user's function works as before wherever it is called, and keeps its name."""
    module(tmp_path, "shop.py", SHOP)
    code = "import shop\nprint(shop.charge('x'), shop.charge.__name__)"
    assert python(code, ACKPROOF_EFFECT="shop:charge") == "x charge\n"
    assert [(event.kind, event.task_id) for event in events(tmp_path)] == [
        ("effect_begin", ""),
        ("effect", ""),
    ]


def test_the_trials_settings_lie_over_the_apps(python: Python, tmp_path: Path) -> None:
    """Also over what the app sets in its own module; dictionaries are merged."""
    module(
        tmp_path,
        "shop.py",
        SHOP
        + "app.conf.broker_transport_options = {'a': 1, 'b': 1}\napp.conf.task_acks_late = False\n",
    )
    code = """
import celery.app.base
from shop import app
from celery.signals import celeryd_init
celeryd_init.send(sender="x", instance=None, conf=app.conf, options={})
print(app.conf.task_acks_late, app.conf.broker_transport_options)
"""
    settings = '{"task_acks_late": true, "broker_transport_options": {"b": 2}}'
    assert python(code, ACKPROOF_SETTINGS=settings) == "True {'a': 1, 'b': 2}\n"


def test_the_apps_settings_stay_without_a_trials(python: Python, tmp_path: Path) -> None:
    """No settings asked for: none changed."""
    module(tmp_path, "shop.py", SHOP)
    assert python("from shop import app\nprint(app.conf.broker_url)") == "memory://\n"


def test_a_worker_has_a_host_of_its_own(python: Python) -> None:
    """Where a trial has several workers: in every name that Celery makes of the host."""
    code = """
from celery.bin.worker import worker
from celery.utils.nodenames import default_nodename
from celery.app.trace import gethostname
default = [option.default for option in worker.params if option.name == "hostname"]
print(default_nodename(None), gethostname(), default)
"""
    told = python(code, ACKPROOF_HOSTNAME="worker-2.here")
    assert told == "celery@worker-2.here worker-2.here ['celery@worker-2.here']\n"
    assert "worker-2" not in python(code)


# -- what a failpoint raises ---------------------------------------------------------------

STRIKE = """
import json, os, threading
from ackproof_probe import steps

folder, wanted = os.environ["ACKPROOF_STEPS"], os.environ["WANTED"]
os.mkfifo(os.path.join(folder, "0.fifo"))
point = {"index": 0, "step": "started", "nth": 1, "task": ""}
point |= {"role": "", "task_id": "", "holds": True, "stills": False}
with open(os.path.join(folder, "armed.json"), "w") as armed:
    json.dump([point], armed)

def answer():
    fifo = os.open(os.path.join(folder, "0.fifo"), os.O_WRONLY)
    os.write(fifo, b"raise " + wanted.encode())
    os.close(fifo)

threading.Thread(target=answer).start()
try:
    steps.reach("started", "t1", 0, "work")
    print("went on")
except BaseException as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("wanted", "said", "how"),
    [
        ("builtins:ValueError", "ValueError Ackproof raised this at started", "raised"),
        ("builtins:Nothing", "went on", "released, for builtins:Nothing cannot be made"),
        ("no_such_module:Error", "went on", "released, for no_such_module:Error cannot be made"),
        ("builtins:UnicodeDecodeError", "went on", "released, for builtins:UnicodeDecodeError"),
        ("builtins:str", "went on", "released, for builtins:str is no exception"),
    ],
)
def test_only_what_was_raised_is_said_to_have_been(
    python: Python, tmp_path: Path, wanted: str, said: str, how: str
) -> None:
    """An exception that cannot be made disturbs nobody, and the reason is told."""
    (tmp_path / "steps").mkdir()
    out = python(STRIKE, ACKPROOF_STEPS=str(tmp_path / "steps"), WANTED=wanted)
    assert out.strip() == said
    (left,) = (event for event in events(tmp_path) if event.kind == "step_left")
    assert str(left.data["how"]).startswith(how)


# -- what it cannot watch ------------------------------------------------------------------


def test_a_step_that_has_moved_is_told(python: Python, tmp_path: Path) -> None:
    """The module is left as it is, and the step named once, with its function."""
    code = """
from types import ModuleType
from ackproof_probe import missing, steps
module = ModuleType("celery.worker.request")
module.Request = type("Request", (), {})
for _ in range(2):
    steps.watch_accepting(module)
print(missing.steps, vars(module.Request).get("on_accepted"))
"""
    told = "accepted: celery.worker.request:Request.on_accepted is not there"
    assert python(code) == f"[{told!r}] None\n"
    assert not events(tmp_path)


def test_a_hook_that_fails_breaks_no_import(python: Python, tmp_path: Path) -> None:
    """The user's process goes on; which module could not be watched is an event, and the steps
    that stand there are missing."""
    module(tmp_path, "fake/kombu/__init__.py", "")
    module(tmp_path, "fake/kombu/message.py", "VALUE = 1")
    code = """
import sys
sys.path.insert(0, "fake")
import kombu.message
from ackproof_probe import missing
print(kombu.message.VALUE, [line.partition(":")[0] for line in missing.steps])
"""
    acks = ["early_ack_begins", "early_acked", "late_ack_begins", "late_acked"]
    assert python(code) == f"1 {acks}\n"
    (failed,) = events(tmp_path)
    assert (failed.kind, failed.data["where"]) == ("probe_failed", "kombu.message")


def test_an_effect_that_is_not_there(python: Python, tmp_path: Path) -> None:
    """A wrong name in the workload's file does not break the app, and is told."""
    module(tmp_path, "shop.py", SHOP)
    assert python("import shop\nprint('app')", ACKPROOF_EFFECT="shop:refund") == "app\n"
    (failed,) = events(tmp_path)
    assert failed.kind == "probe_failed"
    assert "refund" in str(failed.data["error"])


ARMED = """[{"index": 0, "step": "started", "nth": 1, "task": "", "role": "",
"task_id": "", "holds": true, "stills": false}]"""


def test_a_failpoint_without_its_folder(python: Python, tmp_path: Path) -> None:
    """A trial whose folder goes away under a worker does not break the worker's task."""
    module(tmp_path, "shop.py", SHOP)
    module(tmp_path, "steps/armed.json", ARMED)  # and no FIFO
    code = "from shop import pay\nprint(pay.apply(('x',), task_id='a').state)"
    assert python(code, ACKPROOF_STEPS=str(tmp_path / "steps")) == "SUCCESS\n"
    (failed,) = [event for event in events(tmp_path) if event.kind == "probe_failed"]
    assert (failed.task_id, failed.data["where"]) == ("a", "the step started")

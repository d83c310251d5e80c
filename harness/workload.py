"""A workload: how to run a user's app. Read from ``workload.toml``, never imported."""

from __future__ import annotations

import difflib
import os
import shlex
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from harness.model import UsageError

BUNDLED = Path(__file__).with_name("bundled")
SOURCE = Path(__file__).parent.parent
KEPT_BACK = ("PYTEST_", "AWS_")
"""Environment that trials do not see: AWS credentials and profiles could lead them to a
service that is not ours. A workload that needs some sets them in its ``[env]``."""
PROBE = Path(__file__).with_name("probe")


class Workload(Struct, frozen=True, forbid_unknown_fields=True):
    """The commands of an app. ``{name}``-style fields are filled in for each trial."""

    worker: str
    producer: str
    effects: str = ""
    effect: str = ""
    env: dict[str, str] = {}
    options: dict[str, str] = {}
    folder: Path = Path()

    def command(self, template: str, values: Mapping[str, object]) -> list[str]:
        """Split first, then filled in: a folder with a space stays one word."""
        try:
            words = shlex.split(template)
        except ValueError as error:
            raise UsageError(f"{self.folder / 'workload.toml'}: {template!r}: {error}") from error
        if not words:
            raise UsageError(f"{self.folder / 'workload.toml'}: a command is empty")
        return [self._fill(word, values) for word in words]

    def environment(self, values: Mapping[str, object]) -> dict[str, str]:
        """The user's environment, with this interpreter's commands and the app in reach."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(KEPT_BACK)}
        env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
        paths = [str(PROBE), str(self.folder), env.get("PYTHONPATH", "")]
        env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        return env | {name: self._fill(value, values) for name, value in self.env.items()}

    def _fill(self, template: str, values: Mapping[str, object]) -> str:
        if "\0" in template:
            raise UsageError(f"{self.folder / 'workload.toml'}: {template!r} has a NUL in it")
        try:
            return template.format_map(dict(values))
        except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
            name = str(error.args[0]) if isinstance(error, KeyError) else ""
            near = difflib.get_close_matches(name, values)
            there = ", ".join(sorted(values))
            raise UsageError(
                f"{self.folder / 'workload.toml'}: {template!r} has a field that is not known",
                f"Did you mean {{{near[0]}}}?"
                if near
                else f"Known are {there}; a brace of your own is written twice.",
            ) from error


def load(name: str, near: Path) -> Workload:
    """The workload in folder ``name``: below ``near`` (the scenario's own folder or any above
    it), or one that ships with Ackproof. Raises UsageError."""
    candidates = [parent / name for parent in (near, *near.parents)]
    candidates += [Path.cwd() / name, BUNDLED / name, SOURCE / name]
    for folder in candidates:
        if (folder / "workload.toml").is_file():
            return _read(folder.resolve())
    raise UsageError(f"no workload {name!r}", "A workload is a folder with a workload.toml.")


def _read(folder: Path) -> Workload:
    path = folder / "workload.toml"
    try:
        stored = tomllib.loads(path.read_text())
        return msgspec.structs.replace(msgspec.convert(stored, Workload), folder=folder)
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    except msgspec.ValidationError as error:
        fields = [field.name for field in msgspec.structs.fields(Workload)]
        fields.remove("folder")
        wrong = [key for key in stored if key not in fields]
        near = [name for key in wrong for name in difflib.get_close_matches(key, fields)]
        hint = f"Did you mean {', '.join(near)}?" if near else f"Keys are {', '.join(fields)}."
        raise UsageError(f"{path}: {error}", hint) from error

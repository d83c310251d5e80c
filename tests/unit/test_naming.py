"""Unknown names get the near ones, or all there are."""

from __future__ import annotations

import pytest

from harness import brokers
from harness.model import UsageError
from harness.naming import known

NAMES = ("calm", "canary", "child_sigkill", "worker_sigkill")


def test_a_name_that_is_there() -> None:
    """It comes back as it is."""
    assert known("calm", NAMES, "scenario") == "calm"


def test_a_near_name() -> None:
    """A slip of the finger is told the names it may have meant."""
    with pytest.raises(UsageError, match=r"^there is no scenario 'clam'\. Did you mean calm\?$"):
        known("clam", NAMES, "scenario")
    with pytest.raises(UsageError, match=r"Did you mean child_sigkill or worker_sigkill\?$"):
        known("chld_sigkill", NAMES, "scenario")


def test_a_name_near_nothing() -> None:
    """All the names, for there is nothing to guess."""
    with pytest.raises(
        UsageError, match=r"^there is no profile 'x'\. There are default, hardened\.$"
    ):
        known("x", iter(("default", "hardened")), "profile")


def test_an_unknown_broker() -> None:
    """Brokers are found by walking their folder, and named the same way."""
    with pytest.raises(UsageError, match=r"^there is no broker 'reddis'\. Did you mean redis\?$"):
        brokers.load("reddis")
    with pytest.raises(UsageError, match=r"rabbitmq.*redis.*sqs"):
        brokers.load("kafka")

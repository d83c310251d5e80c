"""Whether the worker runs with the settings of its trial: what it has of its own would be judged
as if it were the scenario's."""

from __future__ import annotations

import pytest

from harness.trial import overridden


@pytest.mark.parametrize(
    ("asked", "live"),
    [
        ({"task_acks_late": True}, {"task_acks_late": True}),
        ({"broker_transport_options": {"a": 1}}, {"broker_transport_options": {"a": 1, "b": 2}}),
        ({"result_backend": "redis://"}, {"result_backend": "redis://:**@127.0.0.1:1/4"}),
        ({"result_backend": "redis://theirs:6379/0"}, {"result_backend": "redis://127.0.0.1:1/4"}),
        ({"result_backend": "file:///a"}, {"result_backend": "file:///a"}),
    ],
)
def test_it_runs_with_what_was_asked_for(asked: dict[str, object], live: dict[str, object]) -> None:
    """Results are led to the run's own server, whichever was named."""
    assert overridden(asked, live) == []


@pytest.mark.parametrize(
    ("asked", "live"),
    [
        ({"task_acks_late": True}, {"task_acks_late": False}),
        ({"task_acks_late": True}, {}),
        ({"broker_transport_options": {"a": 1}}, {"broker_transport_options": {"a": 2}}),
        ({"result_backend": "file:///a"}, {"result_backend": "file:///b"}),
        ({"result_backend": "file:///a"}, {"result_backend": "redis://127.0.0.1:1/4"}),
    ],
)
def test_it_runs_with_something_else(asked: dict[str, object], live: dict[str, object]) -> None:
    """The line names the setting, and both values."""
    (name,) = asked
    (told,) = overridden(asked, live)
    assert told == (
        f"the worker runs with {name} = {live.get(name)!r}, the trial asked for {asked[name]!r}"
    )

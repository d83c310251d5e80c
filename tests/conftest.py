"""For every test: what it starts has the signals of a new process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.searching import PROFILE

if TYPE_CHECKING:
    from tests.trials import Trials

# A shell leaves SIGINT and SIGQUIT ignored in what it starts in the background, and what is
# ignored stays so in every child. A handler does not: children begin with the default.
for _signum, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, lambda *_: os.abort()),
    (signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM)),
):
    if signal.getsignal(_signum) is signal.SIG_IGN:
        signal.signal(_signum, _handler)

# The same examples each time: CI is red for what a commit did, not for what chance found.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(PROFILE)


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """Real trials, on servers that a module's tests share."""
    from tests.trials import Trials  # of all tests, few need it

    trials = Trials(tmp_path_factory.mktemp("trials"))
    try:
        yield trials
    finally:
        trials.close()

"""Connection reset: every connection between the workers and the broker is cut.

    worker ──▶ Toxiproxy ──▶ broker      toxic reset_peer, until the connections are gone
           ◀──X──    ──X──▶

What Toxiproxy 2.12 really does (tests/contracts/test_link.py): a connection that is open
already is cut with the next bytes that flow on it, and those bytes are lost; both sides see
an orderly end (FIN). Only a connection made while the toxic is there gets an RST. A
connection on which nothing flows for a while is closed as it is.
"""

from __future__ import annotations

import time
from typing import ClassVar

from msgspec import Struct

from harness.model import Event, Evidence, Trigger, step
from harness.protocols import Firing, Link, Stack

IDLE_S = 2.0
"""A connection on which nothing flows for so long is closed as it is."""
TRIED_S = 20.0
"""Where there is no open connection (SQS between two requests): until someone tries."""
SETTLES_S = 0.2


class Reset(Struct, frozen=True):
    """Cuts the link's connections once; later ones are let through."""

    kind: ClassVar[str] = "reset"
    kills: ClassVar[bool] = False
    holds: ClassVar[bool] = False
    stills: ClassVar[bool] = False
    needs_link: ClassVar[bool] = True
    lasts_s: ClassVar[float] = 0.0
    target: ClassVar[str] = "link"
    when: Trigger

    def fire(self, stack: Stack, at: Event) -> Firing:
        del at  # every connection, whoever's task it was
        link = stack.need_link()
        before = link.connections()
        unanswered_before = link.counters()["received_upstream_ended"]
        for stream in ("upstream", "downstream"):
            link.add("reset_peer", stream, timeout=0)
        began_s = time.monotonic()
        while not _cut(before, link, unanswered_before):
            if time.monotonic() - began_s > (IDLE_S if before else TRIED_S):
                break
            yield 0.02
        idle = before & link.connections()
        link.clear()
        if idle:
            link.close_connections()
            yield SETTLES_S
        left = before & link.connections()
        unanswered = link.counters()["received_upstream_ended"] - unanswered_before
        return Evidence(
            landed=not left and bool(before or unanswered),
            facts={
                "cut_in_traffic": len(before - idle),
                "closed_while_idle": len(idle - left),
                "left": len(left),
                "bytes_cut_off": unanswered,
            },
            why_not="" if before or unanswered else "nobody had a connection, and nobody tried",
        )

    def heal(self, stack: Stack) -> None:
        stack.need_link().clear()


def reset(*, when: Trigger) -> Reset:
    """Reset all connections at ``when``."""
    return Reset(when=when)


def _cut(before: frozenset[tuple[int, int]], link: Link, unanswered_before: int) -> bool:
    """Whether all that was open is gone; or where nothing was, whether an attempt was cut."""
    if before:
        return not before & link.connections()
    return link.counters()["received_upstream_ended"] > unanswered_before


EXAMPLES = (reset(when=step("effect_begin")),)

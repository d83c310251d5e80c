"""Connection reset: every connection between the workers and the broker gets a TCP RST.

    worker ──▶ Toxiproxy ──▶ broker      toxic reset_peer, until the connections are gone
       ◀─RST──          ──RST─▶
"""

from __future__ import annotations

import time
from typing import ClassVar

from msgspec import Struct

from harness.model import Event, Evidence, Trigger
from harness.protocols import Firing, Stack

GONE_WITHIN_S = 5.0


class Reset(Struct, frozen=True):
    """Resets the link's connections once; new ones are let through."""

    kind: ClassVar[str] = "reset"
    kills: ClassVar[bool] = False
    needs_link: ClassVar[bool] = True
    target: ClassVar[str] = "link"
    when: Trigger

    def fire(self, stack: Stack, at: Event) -> Firing:
        link = stack.need_link()
        before = link.connections()
        link.add("reset_peer", "downstream", timeout=0)
        deadline = time.monotonic() + GONE_WITHIN_S
        while (left := before & link.connections()) and time.monotonic() < deadline:
            yield 0.02
        link.clear()
        return Evidence(
            landed=bool(before) and not left,
            facts={"connections_reset": len(before - left), "connections_left": len(left)},
            why_not="" if before and not left else "connections stayed, or there were none",
        )

    def heal(self, stack: Stack) -> None:
        stack.need_link().clear()


def reset(*, when: Trigger) -> Reset:
    """Reset all connections at ``when``."""
    return Reset(when=when)

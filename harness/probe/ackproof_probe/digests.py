"""Short forms of values, for comparison: what a task returned, and what its chord received.

A value and what comes out of a result backend for it have the same digest: a tuple becomes a
list on the way, a key that is a number becomes a text. So both are brought to the JSON that
kombu makes of them, with keys in order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

LENGTH_MAX = 200
"""A text up to here is its own digest."""
SIZE_MAX = 1_000_000
"""A larger one is not looked into: the worker has other things to do."""
NUMBER_MAX = 1000
OPAQUE = "opaque:"
"""Opens the digest of a value that cannot be compared; no JSON text begins with it."""


def digest(value: object) -> str:
    """JSON text, or ``sha256:...`` of one that is long, or ``opaque:...``. Never raises."""
    from kombu.utils.json import dumps

    try:
        text = dumps(value)
        if len(text) > SIZE_MAX:
            return f"{OPAQUE}{len(text)} characters"
        plain = json.loads(text)
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    except Exception:  # what kombu's JSON does not know, a circle, an object's own trouble
        return f"{OPAQUE}{type(value).__name__}"
    if len(text) <= LENGTH_MAX:
        return text
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def of_list(values: Sequence[object]) -> dict[str, object]:
    """What the probe tells of a task's first argument: a digest an element, ``number`` of them,
    and how many are lists themselves."""
    return {
        "first_argument": [digest(value) for value in values[:NUMBER_MAX]],
        "first_argument_number": len(values),
        "first_argument_lists": sum(isinstance(value, list | tuple) for value in values),
    }

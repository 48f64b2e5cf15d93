"""What callers hand in, looked at before anything is done with it: one clear error for each thing that cannot be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from orchestration.core import payload
from orchestration.core.checks import check_text

__all__ = [
    "check_id", "check_name", "check_topic", "plain_map", "signal_list", "value_list", "wait_seconds",
]  # fmt: skip

MOST_NAME_BYTES = 1024
MOST_ID_BYTES = 255


def check_name(what: str, value: Any) -> str:
    """Refuse what cannot be the name of a handler or a message: empty, above 1,024 bytes.

    Raises:
        TypeError: It is no text.
        ValueError: It cannot be a name.
    """
    return check_text(what, value, least=1, most=MOST_NAME_BYTES)


def check_topic(topic: Any) -> str:
    """Refuse what cannot be the name of a message: empty, above 1,024 bytes, or kept for the engine (``@``).

    Raises:
        TypeError: It is no text.
        ValueError: It cannot be one.
    """
    if check_name("a topic", topic).startswith("@"):
        raise ValueError(f"a topic does not begin with '@': {topic!r}")
    return str(topic)


def check_id(what: str, value: Any) -> str | None:
    """Refuse what cannot be the id of a request or an update; None stays None.

    Raises:
        TypeError: It is no text.
        ValueError: It is empty or has more than 255 bytes.
    """
    return None if value is None else check_text(what, value, least=1, most=MOST_ID_BYTES)


def value_list(what: str, values: Any) -> list[Any]:
    """Values that are given as one list; a text is none, though it can be walked through.

    Raises:
        TypeError: It is no list.
    """
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes, bytearray)):
        raise TypeError(f"{what} are a list of values, not {values!r:.100} ({type(values).__name__})")
    return list(values)


def signal_list(signals: Any, *, limit: int) -> list[tuple[str, bytes]]:
    """Startup messages: topic and encoded payloads.

    Raises:
        TypeError: They are no list of pairs of a text and a list.
        ValueError: A topic cannot be one.
        EncodeError: A payload cannot be carried.
    """
    found = []
    for signal in value_list("signals", signals):
        if not isinstance(signal, (tuple, list)) or len(signal) != 2:
            raise TypeError(f"a signal is a pair of a topic and a list of payloads, not {signal!r:.100}")
        topic, values = signal
        topic = check_topic(topic)
        found.append((topic, payload.encode(value_list(f"the payloads of signal {topic!r}", values), limit=limit)))
    return found


def plain_map(what: str, value: Any, *, limit: int | None = None) -> dict[str, Any]:
    """A map of texts to values that can be carried, as they will be read; None is an empty one.

    Raises:
        TypeError: It is no map.
        EncodeError: A key is no text, or a value cannot be carried.
        PayloadTooLargeError: It is above the limit.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} is a map of texts to values, not {value!r:.100} ({type(value).__name__})")
    plain: dict[str, Any] = payload.decode(payload.encode(dict(value), limit=limit))
    return plain


def wait_seconds(timeout: Any) -> float | None:
    """A longest wait in seconds; None waits for ever, and so does infinity.

    Raises:
        TypeError: It is neither a number, nor a timedelta, nor None.
        ValueError: It is not a number (NaN).
    """
    if isinstance(timeout, timedelta):
        return timeout.total_seconds()
    if timeout is None or timeout == math.inf:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"a timeout is seconds, a timedelta or None, not {timeout!r:.100} ({type(timeout).__name__})")
    if math.isnan(timeout):
        raise ValueError("a timeout is not NaN")
    return timeout

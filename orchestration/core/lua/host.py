"""The functions of Python that Lua code can reach, and the one door they are behind.

A host function takes and returns plain values (those of :mod:`orchestration.core.payload`). It must be bounded:
it checks the sizes of its arguments before it works. Prelude files call it as ``rt.host("hash.sha256", data)``;
user code never does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import msgpack

from orchestration.core import payload
from orchestration.core.lua.hostlib import provide

__all__ = ["HOST", "Encoded", "HostArgumentError", "HostError", "call_host", "host_function"]

HostFunction = Callable[..., Any]

HOST: dict[str, HostFunction] = {}
"""Every host function by its name, such as ``hash.sha256``."""


class HostError(Exception):
    """What a host function returns to Lua as ``nil, err``.

    Args:
        kind: Error kind, such as ``"Invalid"``.
        message: Text of the error object.
        retryable: What ``err:retryable()`` says; errors of modules are not retryable unless said.
    """

    def __init__(self, kind: str, message: str, retryable: bool | None = False) -> None:
        super().__init__(kind, message, retryable)
        self.kind = kind
        self.message = message
        self.retryable = retryable


class Encoded(bytes):
    """A large result, encoded without looking at each part of it once more.

    It is not canonical: the order of the keys is nothing to a Lua table.

    Args:
        value: Lists, dicts with text keys, text, bytes, floats and 64 bit integers, nothing else.
    """

    __slots__ = ()

    def __new__(cls, value: Any) -> Self:
        """Encode the value."""
        return super().__new__(cls, msgpack.packb(value, use_bin_type=True))


class HostArgumentError(Exception):
    """What a host function raises in Lua: the caller passed something of the wrong type."""


def host_function(name: str) -> Callable[[HostFunction], HostFunction]:
    """Make a Python function callable from the prelude under this name."""

    def register(function: HostFunction) -> HostFunction:
        if name in HOST:
            raise ValueError(f"two host functions are named {name!r}")
        HOST[name] = function
        return function

    return register


def call_host(name: bytes, packed: bytes) -> tuple[bool, bytes]:
    """Call a host function with encoded arguments.

    Args:
        name: Name in :data:`HOST`.
        packed: The arguments, encoded as one array.

    Returns:
        True and the encoded result, or False and an encoded failure; a failure with ``raised`` set becomes a raised
        Lua error. No exception leaves but those that end the process (and MemoryError).
    """
    try:
        text = name.decode("utf-8", "replace")
        if text not in HOST:
            provide(text)
        function = HOST.get(text)
        if function is None:
            raise HostError("Internal", f"no host function {name!r}")
        result = function(*payload.decode(packed))
        return True, bytes(result) if isinstance(result, Encoded) else payload.encode(result)
    except HostError as error:
        failure = {"message": error.message, "kind": error.kind}
        return False, payload.encode(failure if error.retryable is None else {**failure, "retryable": error.retryable})
    except HostArgumentError as error:
        return False, payload.encode({"message": str(error), "kind": "Invalid", "raised": True})
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, Lua must see a plain error value
        text = f"{name.decode('utf-8', 'replace')}: {type(error).__name__}: {error}"
        return False, payload.encode({"message": text, "kind": "Internal", "retryable": False})

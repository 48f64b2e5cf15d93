"""The doors between Lua modules and Python: functions by name, such as ``store.get``.

A verb takes the :class:`~orchestration.modules.caller.Caller` and plain values, and returns a plain value. What it
raises becomes ``nil, err``: a :class:`~orchestration.core.lua.host.HostError` or
:class:`~orchestration.errors.ApplicationError` as it says, anything else of kind ``Internal``. Lua reaches it by
``rt.perform(name, ...)`` (in a thread of its own, it may wait for servers) or, if it is quick, ``rt.perform_now``.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from orchestration.core import payload
from orchestration.core.failures import failure_of
from orchestration.core.lua.host import HostArgumentError, HostError
from orchestration.errors import PayloadError
from orchestration.modules.caller import Caller

__all__ = ["perform", "verb"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Verb(NamedTuple):
    function: Callable[..., Any]
    quick: bool


_VERBS: dict[str, _Verb] = {}


def verb(name: str, *, quick: bool = False) -> Callable[[_Function], _Function]:
    """Make a function the verb of this name; its module is ``orchestration.modules.<first part of the name>``.

    Args:
        name: ``module.what``.
        quick: It never waits: Lua may call it in the middle of a step.
    """

    def register(function: _Function) -> _Function:
        if name in _VERBS:
            raise ValueError(f"two verbs are named {name!r}")
        _VERBS[name] = _Verb(function, quick)
        return function

    return register


def perform(caller: Caller, name: str, packed: bytes, *, now: bool = False) -> tuple[bool, bytes]:
    """Do what a module asks for.

    Args:
        caller: Who asks.
        name: Of the verb.
        packed: Its arguments, encoded as one array.
        now: Lua waits inside its step: only quick verbs are done.

    Returns:
        True and the encoded result, or False and an encoded failure. Nothing is raised but MemoryError and what ends
        the process.
    """
    try:
        found = _find(name)
        if now and not found.quick:
            raise HostError("Internal", f"{name} cannot be done in the middle of a step")
        result = found.function(caller, *payload.decode(packed))
        try:
            return True, payload.encode(result, limit=caller.runtime.settings.value_limit_bytes)
        except PayloadError as error:
            raise HostError("Invalid", f"what {name} found cannot be given to code: {error}") from error
    except HostError as error:
        return False, payload.encode_failure(error.message, kind=error.kind, retryable=error.retryable)
    except HostArgumentError as error:
        return False, payload.encode_failure(str(error), kind="Invalid", retryable=False)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, Lua must see a plain error value
        return False, payload.encode(failure_of(error))


def _find(name: str) -> _Verb:
    found = _VERBS.get(name)
    if found is None:
        module = f"orchestration.modules.{name.partition('.')[0]}"
        if name.partition(".")[0].isidentifier() and importlib.util.find_spec(module) is not None:
            importlib.import_module(module)
            found = _VERBS.get(name)
    if found is None:
        raise HostError("Internal", f"no verb {name!r}")
    return found

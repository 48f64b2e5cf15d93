"""Values go round without a loss, in Python and through Lua."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings

from orchestration.core import events, payload
from tests.properties.strategies import lua_values, values
from tests.support.lua_runs import Run


def same(one: Any, other: Any) -> bool:
    """Equal in type, sign of zero and NaN, too."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@given(values)
@settings(max_examples=300)
def test_values_survive_python(value: object) -> None:
    data = payload.encode(value)
    assert same(payload.decode(data), value)
    assert payload.encode(payload.decode(data)) == data


@pytest.fixture(scope="module")
def echo() -> Run:
    run = Run("""return function()
      local funcs, inbox = require('funcs'), process.inbox()
      while true do local m = inbox:receive() local p = m:payload() funcs.async('app:echo', p and p:data()) end
    end""")
    run.start()
    return run


@given(value=lua_values)
@example(value=[[], {}, [None], {"a": {}, "b": []}, [None, [None, 1]], 2**63 - 1, -(2**63), -0.0, 1.0, "", b"\xff"])
@settings(max_examples=300)
def test_values_survive_lua_byte_for_byte(echo: Run, value: object) -> None:
    del echo.history[:]
    (command,) = echo.signal("x", value)
    assert isinstance(command, events.ScheduleActivity)
    assert command.args == payload.encode([value])

# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Strategies that several property tests share."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["lua_values", "programs", "values"]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=True)
    | st.sampled_from([-0.0, 0.0, 2**63 - 1, -(2**63), "", b"", b"\xff\xfe"])
    | st.text(max_size=40)
    | st.binary(max_size=40)
)
keys = st.text(max_size=10)

values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(keys, inner, max_size=6), max_leaves=25
)
"""Any value that Python can send."""

_lua_scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=True)
    | st.text(max_size=40)
    | st.binary(min_size=1, max_size=20).map(lambda data: b"\xff" + data)
)
lua_values: st.SearchStrategy[Any] = st.recursive(
    _lua_scalars,
    lambda inner: st.lists(inner | st.none(), max_size=6) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=25,
)
"""Values that come back from Lua unchanged: no nil in maps, no bytes that are valid UTF-8."""

_statements = st.sampled_from(
    [
        "log(funcs.call('app:a', #seen, math.random(100)))",
        "futures[#futures + 1] = funcs.async('app:b', uuid.v4())",
        "if #futures > 0 then local p, ok = table.remove(futures, 1):response():receive() log(ok and tostring(p)) end",
        "if #futures > 1 then futures[#futures]:cancel() end",
        "time.sleep(#seen % 3 .. 's')",
        "do local r = channel.select{ inbox:case_receive(), time.after('2s'):case_receive() } log(r.ok, r.channel == inbox) end",
        "coroutine.spawn(function() log('task') time.sleep('1s') log('later', funcs.call('app:c')) end)",
        "coroutine.spawn(function() pipe:send(#seen) end) log(pipe:receive())",
        "log(pcall(function() error(funcs.call('app:d')) end))",
        "local t = {} for i = 1, 5 do t[math.random(50) .. ''] = i t[i / 2] = i end for k, v in pairs(t) do log(k, v) end",
        "log(workflow.version('change', 1, 3), workflow.history_length())",
        "log(process.send(process.pid(), 'self', #seen))",
        "local t = process.listen('topic', {message = true}) log(channel.select{ t:case_receive(), default = true }.default)",
        "log(coroutine.wrap(function() coroutine.yield(funcs.call('app:e')) end)())",
        "log(time.now():unix_nano(), tostring({}))",
    ]
)

_HEAD = """
local funcs, time, uuid, workflow = require("funcs"), require("time"), require("uuid"), require("workflow")
return function(n)
  local seen, futures, pipe, inbox = {}, {}, channel.new(), process.inbox()
  local function log(...) for i = 1, select("#", ...) do seen[#seen + 1] = tostring((select(i, ...))) end end
"""


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A small workflow out of statements that wait, spawn, select, call and take chances."""
    lines = draw(st.lists(_statements, min_size=1, max_size=12))
    body = "\n".join(f"  do {line} end" for line in lines)
    return f"{_HEAD}  for round = 1, n do\n{body}\n  end\n  return seen\nend"

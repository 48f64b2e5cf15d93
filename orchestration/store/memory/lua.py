"""Runs the Redis scripts in Lua 5.1, as Redis does: ``redis.call``, ``cmsgpack``, and the rules of its replies.

Source: Redis 6.2, ``src/scripting.c`` and ``deps/lua/src/lua_cmsgpack.c``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgpack
from lupa import lua51

from orchestration.store.memory.commands import Session
from orchestration.store.memory.data import CommandError, Status
from orchestration.store.scripts import Script

__all__ = ["ScriptWorld"]

_MOST_NESTED = 16

_WORLD = rb"""
local host, pack, unpack_next = ...
local raise, protected, format, kind = error, pcall, string.format, type
for _, name in ipairs{'io', 'os', 'package', 'require', 'module', 'dofile', 'loadfile', 'print', 'python',
    'newproxy'} do
  _G[name] = nil
end

local function strings(...)
  local n = select('#', ...)
  if n == 0 then raise({err = 'ERR Please specify at least one argument for this redis.call() call'}, 0) end
  local args = {...}
  for i = 1, n do
    local is = kind(args[i])
    if is == 'number' then args[i] = format('%.17g', args[i])
    elseif is ~= 'string' then raise({err = 'ERR Lua redis lib command arguments must be strings or integers'}, 0) end
  end
  return args, n
end

redis = {}
function redis.call(...)
  local args, n = strings(...)
  local fine, reply = host(unpack(args, 1, n))
  if not fine then raise({err = reply}, 0) end
  return reply
end
function redis.pcall(...)
  local args, n = strings(...)
  local fine, reply = host(unpack(args, 1, n))
  if not fine then return {err = reply} end
  return reply
end
function redis.error_reply(text) return {err = text} end
function redis.status_reply(text) return {ok = text} end
function redis.log() end

cmsgpack = {}
function cmsgpack.pack(...)
  local parts = {}
  for i = 1, select('#', ...) do
    local fine, packed = pack((select(i, ...)))
    if not fine then raise({err = packed}, 0) end
    parts[i] = packed
  end
  return table.concat(parts)
end
function cmsgpack.unpack(data)
  local fine, value = unpack_next(data)
  if not fine then raise({err = value}, 0) end
  return value
end

setmetatable(_G, {
  __newindex = function(_, name) raise("Script attempted to create global variable '" .. tostring(name) .. "'", 2) end,
  __index = function(_, name)
    raise("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
})

return function(body, keys, argv)
  rawset(_G, 'KEYS', keys)
  rawset(_G, 'ARGV', argv)
  return protected(body)
end
"""


class ScriptWorld:
    """One Lua state in which all scripts of a server run, one at a time."""

    def __init__(self) -> None:
        self._lua: Any = lua51.LuaRuntime(
            encoding=None, register_eval=False, register_builtins=False, unpack_returned_tuples=True
        )
        self._session: Session | None = None
        self._bodies: dict[str, Any] = {}
        world = self._lua.execute(b"return function(...) " + _WORLD + b" end")
        self._load: Callable[..., Any] = self._lua.globals()[b"loadstring"]
        self._protected: Any = world(self._call, self._pack, self._unpack)

    def run(self, script: Script, session: Session, keys: Sequence[bytes], args: Sequence[bytes]) -> list[Any]:
        """Run a script.

        Returns:
            What a client of Redis would be given; a list even when the reply is a single value.

        Raises:
            CommandError: It failed, or answered with an error.
        """
        body = self._bodies.get(script.sha)
        if body is None:
            loaded = self._load(script.source.encode(), b"@user_script")
            if isinstance(loaded, tuple):
                raise CommandError(f"ERR Error compiling script: {_text(loaded[1])}")
            body = self._bodies[script.sha] = loaded
        self._session = session
        try:
            outcome = self._protected(body, self._lua.table_from(keys), self._lua.table_from(args))
        finally:
            self._session = None
        fine, reply = outcome if isinstance(outcome, tuple) else (outcome, None)
        if not fine:
            text = reply[b"err"] if _is_table(reply) else reply
            raise CommandError(_text(text))
        answer = self._reply(reply)
        return answer if isinstance(answer, list) else [answer]

    def _call(self, name: bytes, *args: bytes) -> tuple[bool, Any]:
        session = self._session
        if session is None:
            return False, b"ERR no script is running"
        try:
            return True, self._to_lua(session.execute(name, args))
        except CommandError as error:
            return False, str(error).encode()

    def _to_lua(self, reply: Any) -> Any:
        if reply is None:
            return False
        if isinstance(reply, Status):
            return self._lua.table_from({b"ok": bytes(reply)})
        if isinstance(reply, list):
            return self._lua.table_from([self._to_lua(item) for item in reply])
        return reply

    def _reply(self, value: Any) -> Any:
        if _is_table(value):
            if (error := value[b"err"]) is not None:
                raise CommandError(_text(error))
            if (status := value[b"ok"]) is not None:
                return bytes(status)
            items: list[Any] = []
            while (item := value[len(items) + 1]) is not None:
                items.append(self._reply(item))
            return items
        if isinstance(value, bool):
            return 1 if value else None
        return int(value) if isinstance(value, float) else value

    def _pack(self, value: Any) -> tuple[bool, bytes]:
        return True, b"".join(_packed(value, 0))

    def _unpack(self, data: Any) -> tuple[bool, Any]:
        try:
            unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=0)
            unpacker.feed(data)
            return True, self._unpacked(unpacker.unpack())
        except msgpack.OutOfData:
            return False, b"Missing bytes in input."
        except (ValueError, TypeError, msgpack.UnpackException):
            return False, b"Bad data format in input."

    def _unpacked(self, value: Any) -> Any:
        if isinstance(value, list):
            return self._lua.table_from({i: self._unpacked(v) for i, v in enumerate(value, 1) if v is not None})
        if isinstance(value, dict):
            return self._lua.table_from({self._unpacked(k): self._unpacked(v) for k, v in value.items()})
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, (msgpack.ExtType, msgpack.Timestamp)):
            raise TypeError("extension types are unknown to Redis")
        return value


def _is_table(value: Any) -> bool:
    return bool(lua51.lua_type(value) == "table")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _packed(value: Any, depth: int) -> Iterable[bytes]:
    """Encode as Redis' cmsgpack does: whole numbers as integers, tables that look like arrays as arrays."""
    if isinstance(value, bool) or value is None:
        yield b"\xc0" if value is None else b"\xc3" if value else b"\xc2"
    elif isinstance(value, (int, float)):
        yield _packed_number(value)
    elif isinstance(value, bytes):
        yield _packed_head(len(value), (32, 0xA0), (0xD9, 0xDA, 0xDB)) + value
    elif _is_table(value) and depth < _MOST_NESTED:
        entries = list(value.items())
        if {key for key, _ in entries if isinstance(key, int)} == set(range(1, len(entries) + 1)):
            yield _packed_head(len(entries), (16, 0x90), (None, 0xDC, 0xDD))
            for index in range(1, len(entries) + 1):
                yield from _packed(value[index], depth + 1)
        else:
            yield _packed_head(len(entries), (16, 0x80), (None, 0xDE, 0xDF))
            for key, item in entries:
                yield from _packed(key, depth + 1)
                yield from _packed(item, depth + 1)
    else:
        yield b"\xc0"


def _packed_head(size: int, short: tuple[int, int], codes: tuple[int | None, int, int]) -> bytes:
    if size < short[0]:
        return bytes([short[1] | size])
    if codes[0] is not None and size <= 0xFF:
        return bytes([codes[0], size])
    return struct.pack(">BH", codes[1], size) if size <= 0xFFFF else struct.pack(">BI", codes[2], size)


def _packed_number(number: float) -> bytes:
    if number == int(number) if abs(number) < 2**63 else False:
        packed: bytes = msgpack.packb(int(number))
        return packed
    try:
        if struct.unpack(">f", struct.pack(">f", number))[0] == number:
            return struct.pack(">Bf", 0xCA, number)
    except OverflowError:
        pass
    return struct.pack(">Bd", 0xCB, number)

"""Runs the Redis scripts in Lua 5.1, as Redis does: ``redis.call``, ``cmsgpack``, and the rules of its replies.

Source: Redis 6.2, ``src/scripting.c``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lupa import lua51

from orchestration.store.memory.cmsgpack import pack, unpack
from orchestration.store.memory.commands import Session
from orchestration.store.memory.data import CommandError, Status
from orchestration.store.scripts import Script

__all__ = ["ScriptWorld"]

_WORLD = rb"""
local host, pack, unpack_all = ...
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
    parts[i] = pack((select(i, ...)))
  end
  return table.concat(parts)
end
function cmsgpack.unpack(data)
  local reply = {unpack_all(data)}
  if not reply[1] then raise({err = reply[2]}, 0) end
  return unpack(reply, 2)
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
  local fine, reply = protected(body)
  return fine, reply
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

    def _pack(self, value: Any) -> bytes:
        return pack(value, _is_table)

    def _unpack(self, data: Any) -> tuple[Any, ...]:
        if not isinstance(data, bytes):
            return False, b"bad argument #1 to 'unpack' (string expected)"
        try:
            return True, *map(self._unpacked, unpack(data))
        except ValueError as error:
            return False, str(error).encode()

    def _unpacked(self, value: Any) -> Any:
        if isinstance(value, list):
            return self._lua.table_from({i: self._unpacked(v) for i, v in enumerate(value, 1) if v is not None})
        if isinstance(value, dict):
            return self._lua.table_from({self._unpacked(k): self._unpacked(v) for k, v in value.items()})
        return value


def _is_table(value: Any) -> bool:
    return bool(lua51.lua_type(value) == "table")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

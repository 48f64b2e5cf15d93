"""One sandboxed Lua world: the wrapper of lupa, its limits, and how code gets into it.

Nothing but bytes, integers and Lua's own objects crosses the border. The single Python callable inside is kept in
upvalues of the prelude, out of the reach of user code, and never raises into Lua.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from lupa import lua54

from orchestration.core.lua.source import prepare
from orchestration.errors import LuaSourceError, MemoryLimitError, OrchestrationError, SandboxError, StepLimitError
from orchestration.types import Limits

__all__ = ["LuaWorld"]

_PRELUDE = Path(__file__).parent / "prelude"

HostCall = Callable[[bytes, bytes], tuple[bool, bytes]]


def _refuse_attributes(_obj: object, _name: object, _is_setting: bool) -> object:
    raise AttributeError("Lua code has no access to Python objects")


def _new_runtime(**options: Any) -> Any:
    return lua54.LuaRuntime(
        encoding=None,
        register_eval=False,
        register_builtins=False,
        unpack_returned_tuples=True,
        attribute_filter=_refuse_attributes,
        **options,
    )


@cache
def prelude_code(name: str) -> bytes:
    """Bytecode of ``prelude/<name>.lua``; compiled once in each process.

    Raises:
        FileNotFoundError: There is no such file.
    """
    source = (_PRELUDE / f"{name}.lua").read_bytes()
    compiler = _new_runtime().eval(b"function(text, name) return string.dump(assert(load(text, name, 't'))) end")
    return bytes(compiler(source, b"=[" + name.encode() + b"]"))


class LuaWorld:
    """A Lua state with the sandbox in it. One thread at a time may use it.

    Args:
        limits: What the code inside may use.
        host: Performs a host function: name and encoded arguments in, success and encoded result out.
    """

    def __init__(self, limits: Limits | None = None, host: HostCall | None = None) -> None:
        self._limits = limits or Limits()
        self._host = host
        self._pending: BaseException | None = None
        self._lua = _new_runtime(max_memory=self._limits.memory_bytes)
        try:
            start = self._lua.globals()[b"load"](prelude_code("base"), b"=[base]", b"b")
            self.rt: Any = start(self._call_host, self._limits.memory_bytes, self._limits.instructions)
            self._enter = self.rt[b"enter"]
            self._require = self.rt[b"require_prelude"]
            self._reset_budget = self.rt[b"reset_budget"]
        except lua54.LuaMemoryError as error:
            raise MemoryLimitError(
                f"a Lua world does not fit into {self._limits.memory_bytes} bytes: raise the memory limit"
            ) from error
        except lua54.LuaError as error:
            raise _creation_error(str(error)) from None

    def load_prelude(self, name: str) -> Any:
        """The module of ``prelude/<name>.lua``, as a Lua value; loaded on first use."""
        return self.call(self._require, name.encode())[0]

    def call(self, function: Any, *args: Any) -> tuple[Any, ...]:
        """Call a Lua function under the limits.

        Returns:
            Everything it returned, as a tuple.

        Raises:
            MemoryLimitError: The world wanted more memory than it may have. The world is dead.
            StepLimitError: The instructions are spent. The world is dead.
            SandboxError: The function raised a Lua error; the message has its text and traceback.
        """
        try:
            results = self._enter(function, *args)
        except lua54.LuaMemoryError as error:
            raise self._memory_error() from error
        status = results[0] if isinstance(results, tuple) else results
        if status == b"ok":
            return results[1:] if isinstance(results, tuple) else ()
        if status == b"steps":
            raise StepLimitError(f"the code ran more than {self._limits.instructions} instructions in one step")
        if status == b"memory":
            raise self._memory_error()
        if status == b"abort" and self._pending is not None:
            pending, self._pending = self._pending, None
            raise pending
        raise SandboxError(results[1].decode("utf-8", "replace"))

    def load_user(self, source: str, name: str, env: Any) -> Any:
        """Compile user code.

        Args:
            source: Lua text.
            name: File name shown in messages.
            env: Environment made by ``rt.new_env``.

        Raises:
            LuaSourceError: It is not valid Lua; the message names file and line.
        """
        text, chunkname = source.encode(), b"@" + name.encode()
        _check_syntax(text, chunkname, self._limits.memory_bytes)
        function, *problem = self.call(self.rt[b"load_user"], prepare(text, name), chunkname, env)
        if function is None:
            raise LuaSourceError(problem[0].decode("utf-8", "replace"))
        return function

    def reset_budget(self, instructions: int | None = None) -> None:
        """Start counting anew: to be called before each input."""
        self._reset_budget(self._limits.instructions if instructions is None else instructions)

    def memory_bytes(self) -> int:
        """Memory the world uses now."""
        return int(self._lua.get_memory_used())

    def close(self) -> None:
        """Let go of everything. The world cannot be used afterwards."""
        self.rt = self._enter = self._require = self._reset_budget = self._lua = None

    def _memory_error(self) -> MemoryLimitError:
        return MemoryLimitError(f"the code wanted more than {self._limits.memory_bytes} bytes of memory")

    def _call_host(self, name: bytes, packed: bytes) -> tuple[bool | None, bytes]:
        try:
            if name == b"prelude":
                return True, prelude_code(packed.decode("ascii"))
            if self._host is None:
                raise SandboxError(f"this Lua world has no host: {name!r}")
            return self._host(name, packed)
        except BaseException as error:  # noqa: BLE001 - an exception must not become a Lua value; it goes on in call()
            self._pending = error
            return None, b""


@lru_cache(maxsize=256)
def _check_syntax(source: bytes, chunkname: bytes, memory_bytes: int) -> None:
    runtime = _new_runtime(max_memory=memory_bytes)
    try:
        function, *problem = runtime.globals()[b"load"](source, chunkname, b"t") or (None, b"")
    except TypeError:
        return
    except lua54.LuaMemoryError as error:
        raise MemoryLimitError(f"{chunkname.decode()} needs more than {memory_bytes} bytes to compile") from error
    if function is None:
        raise LuaSourceError(problem[0].decode("utf-8", "replace"))


def _creation_error(message: str) -> OrchestrationError:
    if "locale:" in message:
        category, _, name = message.split("locale:", 1)[1].partition(":")
        return OrchestrationError(
            f"the process locale LC_{category.upper()} is {name!r}: Lua code would sort and print differently from machine "
            f"to machine; leave it at 'C' (do not call locale.setlocale in a worker)"
        )
    return SandboxError(f"the Lua prelude does not start: {message}")

"""One sandboxed Lua world: the wrapper of lupa, its limits, and how code gets into it.

Nothing but bytes, integers and Lua's own objects crosses the border. The single Python callable inside is kept in
upvalues of the prelude, out of the reach of user code, and never raises into Lua.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestration.core.lua.source import prepare
from orchestration.core.lua.state import LuaError, LuaMemoryError, boot_code, new_state, prelude_code
from orchestration.errors import LuaSourceError, MemoryLimitError, OrchestrationError, SandboxError, StepLimitError
from orchestration.types import Limits

__all__ = ["LuaWorld"]

HostCall = Callable[[bytes, bytes], tuple[bool, bytes]]


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
        self._lua = new_state(self._limits.memory_bytes)
        try:
            raw = self._lua.globals()
            raw[b"collectgarbage"](b"stop")  # until rt.settle(): the library is no garbage
            start = raw[b"load"](prelude_code("base"), b"=[base]", b"b")
            self.rt: Any = start(self._call_host, self._limits.memory_bytes, self._limits.instructions, boot_code())
            self._enter = self.rt[b"enter"]
            self._require = self.rt[b"require_prelude"]
            self._reset_budget = self.rt[b"reset_budget"]
        except LuaMemoryError as error:
            raise MemoryLimitError(
                f"a Lua world does not fit into {self._limits.memory_bytes} bytes: raise the memory limit"
            ) from error
        except LuaError as error:
            if self._pending is not None:
                raise self._pending from None
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
            StepLimitError: The instructions are spent, or the stack. The world is dead.
            SandboxError: The function raised a Lua error; the message has its text and traceback.
        """
        try:
            results = self._enter(function, *args)
        except LuaMemoryError as error:
            raise self._memory_error() from error
        status = results[0] if isinstance(results, tuple) else results
        if status == b"ok":
            return results[1:] if isinstance(results, tuple) else ()
        if status == b"steps":
            raise StepLimitError(f"the code ran more than {self._limits.instructions} instructions in one step")
        if status == b"memory":
            raise self._memory_error()
        if status == b"depth":
            raise StepLimitError("the code called itself too deeply: stack overflow")
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
        self.call(self.rt[b"settle"])
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


def _creation_error(message: str) -> OrchestrationError:
    if "locale:" in message:
        category, _, name = message.split("locale:", 1)[1].partition(":")
        return OrchestrationError(
            f"the process locale LC_{category.upper()} is {name!r}: Lua code would sort and print differently from "
            f"machine to machine; leave it at 'C' (do not call locale.setlocale in a worker)"
        )
    return SandboxError(f"the Lua prelude does not start: {message}")

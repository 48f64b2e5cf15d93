"""One run's Lua world: inputs in, commands out. No clock, no store, no broker.

``apply`` hands one encoded input to the scheduler written in Lua (``lua/prelude/scheduler.lua``), which runs every
coroutine until all wait, and answers with the encoded commands that the code gave meanwhile. The same inputs give the
same bytes in every process.
"""

from __future__ import annotations

import enum
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from orchestration.core import events, payload
from orchestration.core.bundle import Bundle, Unit
from orchestration.core.flags import check_versions
from orchestration.core.lua.host import HostError, call_host
from orchestration.core.lua.runtime import LuaWorld
from orchestration.core.lua.source import prepare
from orchestration.errors import (
    CorruptHistoryError,
    LuaSourceError,
    NondeterminismError,
    OrchestrationError,
    SandboxError,
)
from orchestration.types import Limits

__all__ = ["HostServices", "LiveServices", "Machine", "Mode", "Place"]

_log = logging.getLogger(__name__)
_RANDOM_LIMIT = 4 * 1024 * 1024


class Mode(enum.Enum):
    """What the code runs as."""

    WORKFLOW = "workflow"
    """Time and chance come from the inputs; effects are recorded."""
    FUNCTION = "function"
    """Time and chance are real; whoever drives the machine performs the commands at once."""


class HostServices(Protocol):
    """What a machine needs from outside."""

    def now_ms(self) -> int:
        """Real time, milliseconds since 1970; asked for in ``Mode.FUNCTION`` only."""

    def random(self, n: int) -> bytes:
        """``n`` random bytes; asked for in ``Mode.FUNCTION`` only."""

    def log(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        """Take a line that the code printed or logged; never called while replaying."""


class LiveServices(HostServices, Protocol):
    """What functions and processes need beside that."""

    def verb(self, name: str, packed: bytes) -> tuple[bool, bytes]:
        """Do at once what a module asks for.

        Args:
            name: Such as ``env.get``.
            packed: The arguments, encoded as one array.

        Returns:
            True and the encoded result, or False and an encoded failure.
        """

    def send(self, packed: bytes) -> bool:
        """Hand a message to a process that is near, if it is.

        Args:
            packed: Its address, a zero byte, then topic, payloads and sender as a SIGNAL has them.

        Returns:
            True: it is in the mailbox. False: it has to go another way, a command asks for it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one coroutine stands.

    Attributes:
        task: Number of the coroutine in its run, 1 is the main one.
        file: Source file of the innermost frame of user code; empty before the first line ran.
        line: Line in that file, 0 when unknown.
        function: Name of the function there.
        waits_for: What it waits for, such as ``funcs.call app.api:charge``; empty if it does not wait.
        since_ms: Time of the input at which it began to wait.
    """

    task: int
    file: str
    line: int
    function: str
    waits_for: str
    since_ms: int


class Usage(NamedTuple):
    """What a run has come to.

    Attributes:
        events: In its history.
        bytes: Their size.
        pending: Commands that wait for their answer.
    """

    events: int = 0
    bytes: int = 0
    pending: int = 0


class Machine:
    """A run in memory.

    Args:
        bundle: The code.
        limits: What the code may use; instructions count anew for each input.
        mode: What the code runs as.
        host: Services from outside; None logs to this module's logger and refuses time and chance.
        trace: Keep the line of user code behind each command (slower), for :meth:`apply_traced`.

    Raises:
        LuaSourceError: The entry's source is not valid Lua.
        ForbiddenNameError: The source names something that it cannot have.
        MemoryLimitError: Not even the library fits into the memory allowed.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        limits: Limits | None = None,
        mode: Mode = Mode.WORKFLOW,
        host: HostServices | LiveServices | None = None,
        trace: bool = False,
    ) -> None:
        self.bundle = bundle
        self.limits = limits or Limits()
        self.mode = mode
        self.host = host
        self._send = getattr(host, "send", None)
        self.closed = False
        self.replaying = False
        self._dead = False
        self._started = False
        program = _program(bundle)
        self._world = LuaWorld(self.limits, self._call_host)
        self._world.rt[b"mode"] = mode.value.encode()
        lua = self._world.load_prelude("machine")
        self._apply, self._more = lua[b"apply"], lua[b"more_commands"]
        self._live = lua[b"apply_live"]
        self._lua = lua
        self._call = self._world.call
        try:
            self._call(self._world.rt[b"run_prelude"], b"machine_start", program, self.limits.payload_bytes)
        except SandboxError as error:
            if type(error) is SandboxError:
                raise LuaSourceError(str(error).split("\n", 1)[0]) from None
            raise
        if trace:
            self._call(lua[b"trace"])

    def apply(self, event: bytes, *, replaying: bool = False) -> list[bytes]:
        """Take one input and run until every coroutine waits.

        Args:
            event: Encoded input.
            replaying: It comes from the stored history; nothing is printed.

        Returns:
            The encoded commands that this input caused, in order. After a closing command no input has an effect.

        Raises:
            MemoryLimitError: The code wanted more memory. This error and the next three leave the machine dead.
            StepLimitError: The code ran too many instructions for one input.
            NondeterminismError: The input cannot belong to this code.
            CorruptHistoryError: The bytes are no input, or the history is not for this release.
        """
        code = event[1] if len(event) > 1 else 0
        if not self._started or code == events.Code.STARTED or code not in _INPUTS:
            self._check(event, code)
        if self._dead:
            raise OrchestrationError("the machine is dead: an earlier input ended in an error; make a new one")
        self.replaying = replaying
        try:
            results = self._call(self._apply, event, replaying)
        except BaseException:
            self._dead = True
            raise
        count = results[0]
        if count == 0:
            return []
        if count == 1:
            return [results[1]]
        if isinstance(count, bytes):
            self._dead = True
            raise NondeterminismError(0, "something else", count.decode("utf-8", "replace"))
        if count < 0:
            self.closed = True
            count = -1 - count
        commands = list(results[1:])
        while len(commands) < count:
            commands.extend(self._call(self._more, len(commands) + 1))
        return commands

    def apply_live(self, time_ms: int, inputs: Sequence[bytes]) -> list[bytes]:
        """Take several inputs of a process or function, which is never replayed, then run until every coroutine waits.

        Args:
            time_ms: The time now.
            inputs: Encoded inputs without a time in them; the first of all is the start.

        Returns:
            The encoded commands. :attr:`closed` says whether the last of them ended the code.

        Raises:
            MemoryLimitError: The code wanted more memory. This error and the next leave the machine dead.
            StepLimitError: The code ran too many instructions for one step.
        """
        if self._dead:
            raise OrchestrationError("the machine is dead: an earlier input ended in an error; make a new one")
        try:
            results = self._call(self._live, time_ms, *inputs)
        except BaseException:
            self._dead = True
            raise
        count = results[0]
        if count == 0:
            return []
        if count < 0:
            self.closed = True
            count = -1 - count
        commands = list(results[1:])
        while len(commands) < count:
            commands.extend(self._call(self._more, len(commands) + 1))
        return commands

    def apply_traced(self, event: bytes) -> list[str]:
        """Like :meth:`apply` on a tracing machine: ``file:line`` of user code behind each command; empty if none."""
        return [str(line) for line in payload.decode(self._call(self._lua[b"apply_traced"], event)[0])]

    def expect_versions(self, versions: Mapping[str, int]) -> None:
        """Tell which versions the history records, before it is replayed.

        Args:
            versions: Version by change id, from every RECORD_VERSION of the history.
        """
        self._call(self._lua[b"set_versions"], payload.encode(dict(versions)))

    def expect_effects(self, effects: Sequence[events.SideEffect]) -> None:
        """Tell what the side effects came to that the next input is followed by, before it is replayed."""
        found = [[effect.seq, effect.how, effect.value] for effect in effects]
        self._call(self._lua[b"set_effects"], payload.encode(found))

    def ask(self, what: str, *args: str | bytes) -> tuple[Any, ...]:
        """Ask the run something that its history does not show; see :mod:`orchestration.core.handlers`.

        Args:
            what: Name of a function of ``lua/prelude/handlers.lua``.
            args: Its arguments; text becomes UTF-8.

        Returns:
            Everything it returned. Instructions count anew for each question.

        Raises:
            MemoryLimitError: The code wanted more memory; as with :meth:`apply` the machine is dead then.
            StepLimitError: The code ran too many instructions.
        """
        if self._dead:
            raise OrchestrationError("the machine is dead: an earlier input ended in an error; make a new one")
        try:
            given = [arg.encode() if isinstance(arg, str) else arg for arg in args]
            return self._call(self._lua[b"ask"], what.encode(), *given)
        except BaseException:
            self._dead = True
            raise

    def open_commands(self) -> list[int]:
        """Numbers of the commands that still wait for their answer, ascending."""
        return list(payload.decode(self._call(self._lua[b"open_commands"])[0]))

    def usage(self) -> Usage:
        """How long the history is, and how many commands wait."""
        return Usage(*map(int, self._call(self._lua[b"usage"])))

    def places(self) -> list[Place]:
        """Where each coroutine stands, the main one first."""
        if self.closed or self._dead:
            return []
        found = payload.decode(self._call(self._lua[b"places"])[0])
        names = Place.__dataclass_fields__
        return [Place(**dict(zip(names, map(_text, place), strict=True))) for place in found]

    def packed_places(self) -> bytes:
        """The same as one encoded list of lists, in the order of the attributes, for a store."""
        if self.closed or self._dead:
            return payload.EMPTY_ARRAY
        packed: bytes = self._call(self._lua[b"places"])[0]
        return packed

    def memory_bytes(self) -> int:
        """Memory of the Lua world."""
        return self._world.memory_bytes()

    def close(self) -> None:
        """Let go of the Lua world; safe to repeat."""
        self._dead = True
        self._apply = self._more = self._live = self._lua = None
        self._world.close()

    def _check(self, event: bytes, code: int) -> None:
        decoded = events.decode(event)
        if events.is_command(event):
            raise CorruptHistoryError(f"event {code} is a command, not an input")
        if isinstance(decoded, events.Started) == self._started:
            raise CorruptHistoryError("a history begins with one start, and has no other")
        if isinstance(decoded, events.Started) and self.mode is Mode.WORKFLOW:
            check_versions(decoded.meta)
        self._started = True

    def _call_host(self, name: bytes, packed: bytes) -> tuple[bool, bytes]:
        if name == b"live.send":
            return True, b"\xc3" if self._send is not None and self._send(packed) else b"\xc0"
        service = _SERVICES.get(name)
        if service is None:
            verb = getattr(self.host, "verb", None) if name.startswith(b"verb.") else None
            return call_host(name, packed) if verb is None else verb(name[5:].decode("utf-8", "replace"), packed)
        try:
            return True, payload.encode(service(self, *payload.decode(packed)))
        except HostError as error:
            return False, payload.encode_failure(error.message, kind=error.kind, retryable=error.retryable)


_INPUTS = frozenset(int(code) for code in events.Code if code < events.Code.SCHEDULE_ACTIVITY)


def _text(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _unit(unit: Unit) -> dict[str, Any]:
    return {
        "id": unit.entry_id,
        "name": unit.source_name,
        "source": prepare(unit.source.encode(), unit.source_name),
        "modules": list(unit.modules),
        "imports": {item.alias: item.unit.entry_id for item in unit.imports},
    }


@lru_cache(maxsize=256)
def _program(bundle: Bundle) -> bytes:
    """A bundle as machine_start.lua reads it, its sources prepared; kept by the bundle's content."""
    entry, *libraries = bundle.units()
    return payload.encode(
        {
            "entry": _unit(entry),
            "libraries": {unit.entry_id: _unit(unit) for unit in libraries},
            "method": bundle.method,
        }
    )


def _derive(_machine: Machine, seed: bytes | str, block: int, n: int) -> bytes:
    """Bytes of a run: block number and length chosen by the scheduler, the rest by the run's seed."""
    if not 0 < n <= _RANDOM_LIMIT:
        raise HostError("Invalid", f"cannot make {n} random bytes at once")
    raw = seed.encode() if isinstance(seed, str) else seed
    return hashlib.shake_256(b"orchestration.random\0" + raw + block.to_bytes(8, "big")).digest(n)


def _random(machine: Machine, n: int) -> bytes:
    if not 0 < n <= _RANDOM_LIMIT:
        raise HostError("Invalid", f"cannot make {n} random bytes at once")
    if machine.host is None:
        raise HostError("Internal", "this machine has no source of chance")
    return machine.host.random(n)


def _now_ms(machine: Machine) -> int:
    if machine.host is None:
        raise HostError("Internal", "this machine has no clock")
    return machine.host.now_ms()


def _print(machine: Machine, level: str, text: str | bytes, fields: Mapping[str, Any]) -> None:
    if machine.replaying:
        return
    line = _text(text)
    if machine.host is None:
        _log.info("lua: %s", line)
    else:
        machine.host.log(level, line, fields if isinstance(fields, dict) else {})


_SERVICES: dict[bytes, Any] = {
    b"machine.derive": _derive,
    b"machine.random": _random,
    b"machine.now_ms": _now_ms,
    b"machine.log": _print,
}

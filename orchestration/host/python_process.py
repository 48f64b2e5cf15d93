"""A process as its Python code sees it: with methods that wait in a coroutine, or in the thread of a handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from orchestration.core import payload
from orchestration.core.checks import check_kind, check_text
from orchestration.core.events import Code
from orchestration.errors import ApplicationError, SubscriptionClosedError
from orchestration.host.mailbox import Event, Message, is_event
from orchestration.modules.permissions import permitted

if TYPE_CHECKING:
    from orchestration.host.python_cell import PythonCell

__all__ = ["AsyncProcess", "Process", "UpgradeRequest"]

_TURN_S = 0.1


class UpgradeRequest(BaseException):
    """The code of a process wants other code to go on in its place; raised past its ``except Exception``.

    Args:
        entry_id: Entry of the other code; None: of the same.
        args: Its arguments, encoded.
    """

    def __init__(self, entry_id: str | None, args: bytes) -> None:
        super().__init__(entry_id, args)
        self.entry_id = entry_id
        self.args_packed = args


class _Commands:
    """What both kinds share: each command is begun here, and answered by a future."""

    def __init__(self, cell: PythonCell) -> None:
        self._cell = cell

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid}>"

    @property
    def pid(self) -> str:
        """Its address."""
        return self._cell.pid

    @property
    def entry_id(self) -> str:
        """Entry whose code it runs."""
        return self._cell.entry_id

    @property
    def context(self) -> Mapping[str, Any]:
        """Context values that it was started with."""
        return MappingProxyType(dict(self._cell.caller.context))

    @property
    def trap_links(self) -> bool:
        """Whether the failure of a process that it is linked to is an event for it; else it fails too."""
        return self._cell.trap_links

    @trap_links.setter
    def trap_links(self, traps: bool) -> None:
        check_kind("trap_links", traps, bool, "True or False")
        self._cell.trap_links = traps

    def check(self) -> None:
        """Raise when the worker of this process may have been taken for dead; call it right before effects elsewhere.

        Raises:
            ApplicationError: It may; of kind ``Unavailable``.
        """
        self._cell.node.check()

    def _send(self, dest: str, topic: str, values: Sequence[Any]) -> Future[Any]:
        check_text("an address", dest, least=1)
        if check_text("a topic", topic, least=1).startswith("@"):
            raise ValueError(f"a topic does not begin with '@': {topic!r}")
        return self._cell.command(Code.SEND_SIGNAL, dest, topic, self._encode(values))

    def _spawn(
        self, entry_id: str, host: str, args: Sequence[Any], *, name: str | None, context: Mapping[str, Any] | None,
        messages: Sequence[tuple[str, Sequence[Any]]], monitor: bool, link: bool, waits: bool = False,
    ) -> Future[Any]:  # fmt: skip
        check_text("a process id", entry_id, least=1)
        check_text("a host id", host)
        asks = ["process.exec" if waits else "process.spawn", "process.host"]
        asks += ["process.spawn.monitored"] * monitor + ["process.spawn.linked"] * link
        asks += ["process.context"] * bool(context)
        options: dict[str, Any] = {"asks": asks, "monitor": monitor, "link": link}
        if name is not None:
            options["name"] = check_text("a name", name, least=1)
        if context:
            options["ctx"] = payload.decode(self._encode(dict(context)))
        if messages:
            options["messages"] = [[topic, payload.decode(self._encode(list(values)))] for topic, values in messages]
        if waits:
            options["wait"] = True
        return self._cell.command(Code.START_CHILD, entry_id, host, self._encode(list(args)), options, waits=waits)

    def _call(self, function_id: str, args: Sequence[Any]) -> Future[Any]:
        check_text("a function id", function_id, least=1)
        return self._cell.command(Code.SCHEDULE_ACTIVITY, function_id, self._encode(list(args)), {})

    def _stop(self, dest: str, reason: str, *, terminate: bool) -> Future[Any]:
        check_text("an address", dest, least=1)
        return self._cell.command(Code.CANCEL_EXTERNAL, dest, check_text("a reason", reason), terminate)

    def _watch(self, dest: str, how: str) -> Future[Any]:
        return self._cell.command(Code.WATCH, check_text("an address", dest, least=1), how)

    def _name(self, verb: str, name: str, *rest: Any) -> Future[Any]:
        check_text("a name", name, least=1)
        cell = self._cell
        action = f"process.registry.{verb}"
        if verb != "lookup" and not permitted(cell.node.runtime, cell.caller.identity, action, name, cell.pid):
            raise ApplicationError(f"not allowed to {action}: {name}", kind="PermissionDenied", retryable=False)
        return cell.command(Code.PERFORM, f"process.{verb}", payload.encode([name, *rest]))

    def _upgrade(self, entry_id: str | None, args: Sequence[Any]) -> NoReturn:
        if entry_id is not None:
            check_text("a process id", entry_id, least=1)
        raise UpgradeRequest(entry_id, self._encode(list(args)))

    def _encode(self, value: Any) -> bytes:
        if isinstance(value, tuple):
            value = list(value)
        return payload.encode(value, limit=self._cell.node.runtime.settings.value_limit_bytes)


class Process(_Commands):
    """The process that a class with ordinary methods is: handed to ``__init__``, for its handlers.

    Each method waits for its answer in the handler's thread.
    """

    def stop(self, value: Any = None) -> None:
        """End normally when the present handler returns.

        Args:
            value: What the process returns.
        """
        self._cell.stop(value)

    def upgrade(self, entry_id: str | None = None, *args: Any) -> NoReturn:
        """Let other code go on in this process, from here on; does not return.

        Address, names, monitors, links, context and the mail that is not read stay; links are not trapped any more.
        ``on_end`` of this code is not called. To be called in a handler, not in a thread of its own.

        Args:
            entry_id: A ``process.python`` entry; None: this one, from the beginning.
            args: Its arguments.

        Raises:
            EncodeError: An argument cannot be carried; this code goes on.
        """
        self._upgrade(entry_id, args)

    def send(self, dest: str, topic: str, *values: Any) -> None:
        """Send a message.

        Args:
            dest: Address or registered name of a process, function or workflow.
            topic: Name of the message; it does not begin with ``@``.
            values: What is sent.

        Raises:
            ProcessNotFoundError: Nobody has this address or name, or not any more.
        """
        self._send(dest, topic, values).result()

    def spawn(
        self, entry_id: str, host: str, *args: Any, name: str | None = None, context: Mapping[str, Any] | None = None,
        messages: Sequence[tuple[str, Sequence[Any]]] = (), monitor: bool = False, link: bool = False,
    ) -> str:  # fmt: skip
        """Start a process, or with a worker as the host a workflow; it is called in the name of this one.

        Args:
            entry_id: What it runs.
            host: Entry id of its host.
            args: Its arguments.
            name: To be registered; when a process has it already, that one gets the messages.
            context: Context values over those of this process.
            messages: Topics and values for after the start; without a sender.
            monitor: Its end is an EXIT event for this process.
            link: Link it to this process.

        Returns:
            Its address.

        Raises:
            ProcessStartError: It could not be started.
        """
        found = self._spawn(
            entry_id, host, args, name=name, context=context, messages=messages, monitor=monitor, link=link
        )
        return str(found.result())

    def exec(self, entry_id: str, host: str, *args: Any) -> Any:
        """Start a process or workflow and wait for its end.

        Args:
            entry_id: What it runs.
            host: Entry id of its host.
            args: Its arguments.

        Returns:
            What it returned.

        Raises:
            ProcessError: It ended with an error, or could not be started.
        """
        found = self._spawn(
            entry_id, host, args, name=None, context=None, messages=(), monitor=False, link=False, waits=True
        )
        return found.result()

    def call(self, function_id: str, *args: Any) -> Any:
        """Call a function.

        Args:
            function_id: Its entry id.
            args: Its arguments.

        Returns:
            Its result.

        Raises:
            ApplicationError: It failed.
        """
        return self._call(function_id, args).result()

    def cancel(self, dest: str, reason: str = "") -> None:
        """Ask a process or workflow to end.

        Args:
            dest: Its address or name.
            reason: Why.

        Raises:
            ProcessNotFoundError: There is no such process.
        """
        self._stop(dest, reason, terminate=False).result()

    def terminate(self, dest: str) -> None:
        """End a process or workflow without running its code again.

        Args:
            dest: Its address or name.

        Raises:
            ProcessNotFoundError: There is no such process.
        """
        self._stop(dest, "", terminate=True).result()

    def monitor(self, dest: str) -> None:
        """Be told of the end of a process or workflow, by an EXIT event.

        Args:
            dest: Its address or name.

        Raises:
            ProcessNotFoundError: There is no such process.
        """
        self._watch(dest, "monitor").result()

    def unmonitor(self, dest: str) -> None:
        """Be told no more.

        Args:
            dest: Its address or name.
        """
        self._watch(dest, "unmonitor").result()

    def link(self, dest: str) -> None:
        """Link this process to another: when one fails, the other fails too, or gets an event if it traps links.

        Args:
            dest: Its address or name.

        Raises:
            ProcessNotFoundError: There is no such process.
        """
        self._watch(dest, "link").result()

    def unlink(self, dest: str) -> None:
        """Dissolve a link.

        Args:
            dest: Its address or name.
        """
        self._watch(dest, "unlink").result()

    def register(self, name: str) -> None:
        """Take a name; it is free again when this process ends.

        Args:
            name: The name.

        Raises:
            ProcessError: Another process has it; of kind ``AlreadyExists``.
        """
        self._name("register", name, self.pid).result()

    def unregister(self, name: str) -> bool:
        """Take a name away.

        Args:
            name: The name.

        Returns:
            Whether somebody had it.
        """
        return bool(self._name("unregister", name).result())

    def lookup(self, name: str) -> str:
        """Address of the process with a name.

        Args:
            name: The name.

        Returns:
            The address.

        Raises:
            ProcessNotFoundError: Nobody has it.
        """
        return str(self._name("lookup", name).result())


class AsyncProcess(_Commands):
    """The process that an async function, an async generator or a class with async methods is.

    The methods that :class:`Process` has too do the same, and are awaited.
    """

    def stop(self, value: Any = None) -> None:
        """Of a class: end normally when the present handler returns."""
        self._cell.stop(value)

    async def upgrade(self, entry_id: str | None = None, *args: Any) -> NoReturn:
        """Let other code go on in this process, from here on; does not return.

        To be awaited by the function, generator or handler itself, not in another task; else as for
        :meth:`Process.upgrade`.
        """
        await self._turn()
        self._upgrade(entry_id, args)

    async def receive(self, topic: str | None = None, timeout: float | timedelta | None = None) -> Message:  # noqa: ASYNC109
        """Wait for the next message; others and events keep their place.

        Args:
            topic: Of this topic; None: of any.
            timeout: Longest wait, in seconds or as a timedelta; None waits for ever.

        Returns:
            The message.

        Raises:
            TimeoutError: None came in time.
        """

        def is_wanted(mail: Message | Event) -> bool:
            return isinstance(mail, Message) and topic in (None, mail.topic)

        item = await self._take(is_wanted, timeout)
        assert isinstance(item, Message)
        return item

    async def next_event(self, timeout: float | timedelta | None = None) -> Event:  # noqa: ASYNC109
        """Wait for the next event; messages keep their place.

        From the first call on, a request to end is an event that this code decides about; before, it cancels the task.

        Args:
            timeout: Longest wait, in seconds or as a timedelta; None waits for ever.

        Returns:
            The event.

        Raises:
            TimeoutError: None came in time.
        """
        self._cell.reads_events = True
        item = await self._take(is_event, timeout)
        assert isinstance(item, Event)
        return item

    async def next(self, timeout: float | timedelta | None = None) -> Message | Event:  # noqa: ASYNC109
        """Wait for the next message or event, whichever comes first; as for :meth:`next_event` otherwise.

        Args:
            timeout: Longest wait, in seconds or as a timedelta; None waits for ever.

        Returns:
            The message or event.

        Raises:
            TimeoutError: None came in time.
        """
        self._cell.reads_events = True
        return await self._take(lambda _mail: True, timeout)

    async def messages(self, topic: str | None = None) -> AsyncIterator[Message]:
        """Every message as it comes.

        Args:
            topic: Of this topic; None: of any.
        """
        while True:
            yield await self.receive(topic)

    async def events(self) -> AsyncIterator[Event]:
        """Every event as it comes."""
        while True:
            yield await self.next_event()

    async def send(self, dest: str, topic: str, *values: Any) -> None:
        """Send a message."""
        await self._answer(lambda: self._send(dest, topic, values))

    async def spawn(
        self, entry_id: str, host: str, *args: Any, name: str | None = None, context: Mapping[str, Any] | None = None,
        messages: Sequence[tuple[str, Sequence[Any]]] = (), monitor: bool = False, link: bool = False,
    ) -> str:  # fmt: skip
        """Start a process, or with a worker as the host a workflow."""

        def begin() -> Future[Any]:
            return self._spawn(
                entry_id, host, args, name=name, context=context, messages=messages, monitor=monitor, link=link
            )

        return str(await self._answer(begin))

    async def exec(self, entry_id: str, host: str, *args: Any) -> Any:
        """Start a process or workflow and wait for its end."""

        def begin() -> Future[Any]:
            return self._spawn(
                entry_id, host, args, name=None, context=None, messages=(), monitor=False, link=False, waits=True
            )

        return await self._answer(begin)

    async def call(self, function_id: str, *args: Any) -> Any:
        """Call a function."""
        return await self._answer(lambda: self._call(function_id, args))

    async def cancel(self, dest: str, reason: str = "") -> None:
        """Ask a process or workflow to end."""
        await self._answer(lambda: self._stop(dest, reason, terminate=False))

    async def terminate(self, dest: str) -> None:
        """End a process or workflow without running its code again."""
        await self._answer(lambda: self._stop(dest, "", terminate=True))

    async def monitor(self, dest: str) -> None:
        """Be told of the end of a process or workflow, by an EXIT event."""
        await self._answer(lambda: self._watch(dest, "monitor"))

    async def unmonitor(self, dest: str) -> None:
        """Be told no more."""
        await self._answer(lambda: self._watch(dest, "unmonitor"))

    async def link(self, dest: str) -> None:
        """Link this process to another."""
        await self._answer(lambda: self._watch(dest, "link"))

    async def unlink(self, dest: str) -> None:
        """Dissolve a link."""
        await self._answer(lambda: self._watch(dest, "unlink"))

    async def register(self, name: str) -> None:
        """Take a name; it is free again when this process ends."""
        await self._answer(lambda: self._name("register", name, self.pid))

    async def unregister(self, name: str) -> bool:
        """Take a name away; whether somebody had it."""
        return bool(await self._answer(lambda: self._name("unregister", name)))

    async def lookup(self, name: str) -> str:
        """Address of the process with a name."""
        return str(await self._answer(lambda: self._name("lookup", name)))

    async def _take(
        self, wanted: Callable[[Message | Event], bool], timeout: float | timedelta | None  # noqa: ASYNC109
    ) -> Message | Event:
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        try:
            item = await self._cell.mail.get_async(wanted, seconds)
        except SubscriptionClosedError:
            raise asyncio.CancelledError from None  # this process has ended
        await self._turn()
        return item

    async def _answer(self, begin: Callable[[], Future[Any]]) -> Any:
        await self._turn()
        return await asyncio.wrap_future(begin())

    async def _turn(self) -> None:
        """Wait while it is open whether the worker still counts as living."""
        while not self._cell.node.membership.may_act():  # noqa: ASYNC110 - the heartbeat is in another thread
            await asyncio.sleep(_TURN_S)

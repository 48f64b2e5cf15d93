"""Processes for asyncio: no thread waits for a message or an end."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from orchestration.client.arguments import wait_seconds
from orchestration.client.process_verbs import check_pid, check_process
from orchestration.client.processes import (
    ProcessDescription,
    Processes,
    Target,
    is_workflow,
    late_end,
    late_start,
)
from orchestration.client.subscriptions import Line, check_topics, open_line
from orchestration.core.checks import check_text
from orchestration.core.identity import Actor
from orchestration.errors import SubscriptionClosedError
from orchestration.host.mailbox import Message, is_message
from orchestration.host.monitors import Exit
from orchestration.host.spawning import SpawnRequest

__all__ = ["AsyncProcessHandle", "AsyncProcessVerbs", "AsyncSubscription"]


async def within(answer: Future[Any], seconds: float | None, late: str) -> Any:
    """Wait for what another thread answers.

    Raises:
        TimeoutError: It has not answered in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(answer)
    except TimeoutError:
        if answer.done() and answer.exception() is not None:
            raise
        raise TimeoutError(late) from None


async def end_of(target: Target, seconds: float | None) -> Any:
    """Wait for the end of a process."""
    found = await asyncio.to_thread(target.watch)
    event = await within(found.future, seconds, late_end(target.pid, seconds))
    return event.outcome()


async def begin_spawn(
    answer: Future[Exit], processes: Processes, request: SpawnRequest, seconds: float | None
) -> AsyncProcessHandle:
    """Wait for the start of a process."""
    found = await within(answer, seconds, late_start(request, seconds))
    return AsyncProcessHandle(Target(processes, found.pid, found))


class AsyncProcessHandle:
    """One process, see :class:`~orchestration.client.ProcessHandle`.

    Args:
        target: The process.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._processes = target.processes
        self.pid = target.pid

    def __repr__(self) -> str:
        return f"<AsyncProcessHandle {self.pid}>"

    async def send(self, topic: str, *payloads: Any) -> None:
        """Send a message to the process; it is in its mailbox when this returns."""
        await asyncio.wrap_future(await asyncio.to_thread(self._processes.send, self.pid, topic, payloads))

    async def cancel(self, reason: str = "") -> None:
        """Ask the process to end."""
        check_text("a reason", reason)
        await asyncio.wrap_future(await asyncio.to_thread(self._target.cancel, reason))

    async def terminate(self) -> None:
        """End the process without running its code again."""
        await asyncio.wrap_future(await asyncio.to_thread(self._target.terminate))

    async def result(self, timeout: float | timedelta | None = None) -> Any:  # noqa: ASYNC109 - as its twin
        """Wait for the end of the process and return what it returned."""
        return await end_of(self._target, wait_seconds(timeout))


class AsyncSubscription:
    """An address of this Python code, see :class:`~orchestration.client.Subscription`.

    Enter it with ``async with``: the address is there from then on.

    Args:
        processes: Of the client.
        pid: Process or workflow that it follows; None: none.
        topics: Topics that are kept; None: all.
        timeout_s: Longest wait of the iterator for each message; None: for ever.
    """

    def __init__(
        self, processes: Processes, pid: str | None, topics: frozenset[str] | None, timeout_s: float | None
    ) -> None:  # fmt: skip
        self._processes = processes
        self._wanted = (pid, topics)
        self._timeout_s = timeout_s
        self._opened: Line | None = None

    async def __aenter__(self) -> Self:
        if self._opened is None:
            self._opened = line = await asyncio.to_thread(open_line, self._processes, *self._wanted)
            weakref.finalize(self, line.node.monitors.later, line.close).atexit = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.close(error)

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        line = self._line
        try:
            return await _receive(line, self._timeout_s)
        except SubscriptionClosedError:
            raise StopAsyncIteration from None

    @property
    def _line(self) -> Line:
        if self._opened is None:
            text = "this subscription has no address yet: write `async with client.subscribe() as subscription`"
            raise SubscriptionClosedError(text, "InvalidState", False)
        return self._opened

    @property
    def pid(self) -> str:
        """Address that others send to."""
        return self._line.cell.pid

    async def receive(self, timeout: float | timedelta | None = None) -> Message:  # noqa: ASYNC109 - as its twin
        """Wait for the next message."""
        return await _receive(self._line, wait_seconds(timeout))

    async def send(self, pid: str, topic: str, *payloads: Any) -> None:
        """Send a message that is answered to this address."""
        await asyncio.wrap_future(self._line.send(pid, topic, payloads))

    async def spawn(
        self, process_id: str, host_id: str, *args: Any, name: str | None = None,
        context: Mapping[str, Any] | None = None, messages: Sequence[tuple[str, Sequence[Any]]] = (),
        actor: Actor | None = None, scope: Sequence[str] | None = None, timeout: float | timedelta | None = None,  # noqa: ASYNC109 - as its twin
    ) -> AsyncProcessHandle:  # fmt: skip
        """Start a process and follow it: the iteration ends when it ends."""
        seconds, line = wait_seconds(timeout), self._line
        request = self._processes.request(
            process_id, host_id, args, name=name, context=context, messages=messages, actor=actor, scope=scope
        )
        answer = await asyncio.to_thread(line.spawn, request)
        return await begin_spawn(answer, self._processes, request, seconds)

    async def close(self) -> None:
        """Take the address away: what is sent to it from now on is refused."""
        if self._opened is not None:
            self._opened.close()


async def _receive(line: Line, seconds: float | None) -> Message:
    item = await line.mail.get_async(is_message, seconds)
    assert isinstance(item, Message)
    return item


class AsyncProcessVerbs:
    """What an :class:`~orchestration.client.AsyncClient` does with processes."""

    _client: Any
    _processes: Processes

    async def spawn(
        self, process_id: str, host_id: str, *args: Any, name: str | None = None,
        context: Mapping[str, Any] | None = None, messages: Sequence[tuple[str, Sequence[Any]]] = (),
        actor: Actor | None = None, scope: Sequence[str] | None = None, timeout: float | timedelta | None = None,  # noqa: ASYNC109 - as its twin
    ) -> AsyncProcessHandle:  # fmt: skip
        """Start a process on a host; its code is loaded when this returns."""
        seconds, processes = wait_seconds(timeout), self._processes
        request = processes.request(
            process_id, host_id, args, name=name, context=context, messages=messages, actor=actor, scope=scope
        )
        return await begin_spawn(await asyncio.to_thread(processes.spawn, request), processes, request, seconds)

    async def send(self, pid: str, topic: str, *payloads: Any) -> None:
        """Send a message to a process, a function that runs, or a workflow."""
        if is_workflow(check_text("an address", pid, least=1)):
            await asyncio.to_thread(self._client.send, pid, topic, *payloads)
        else:
            await asyncio.wrap_future(await asyncio.to_thread(self._processes.send, pid, topic, payloads))

    async def cancel(self, pid: str, reason: str = "") -> None:
        """Ask a process, a function that runs, or a workflow to end."""
        await asyncio.to_thread(self._client.cancel, pid, reason)

    async def terminate(self, pid: str) -> None:
        """End a process, a function that runs, or a workflow, without running its code again."""
        await asyncio.to_thread(self._client.terminate, pid)

    async def lookup(self, name: str) -> str:
        """Address of the process with a registered name."""
        return await asyncio.to_thread(self._client.lookup, name)

    async def monitor(self, pid: str, timeout: float | timedelta | None = None) -> Any:  # noqa: ASYNC109 - as its twin
        """Wait for the end of a process or workflow and return what it returned."""
        if is_workflow(check_text("an address", pid, least=1)):
            return await asyncio.to_thread(self._client.monitor, pid, timeout)
        seconds = wait_seconds(timeout)
        found = await asyncio.to_thread(self._processes.lookup, pid)
        return await end_of(Target(self._processes, found), seconds)

    def get_process(self, pid: str) -> AsyncProcessHandle:
        """Handle of the process with an address."""
        return AsyncProcessHandle(Target(self._processes, check_process(pid)))

    def subscribe(
        self, pid: str | None = None, *, topic: str | Sequence[str] | None = None,
        timeout: float | timedelta | None = None,
    ) -> AsyncSubscription:  # fmt: skip
        """Take an address that processes, functions and workflows can send to; entered with ``async with``."""
        return AsyncSubscription(self._processes, check_pid(pid), check_topics(topic), wait_seconds(timeout))

    async def list_processes(self, *, host: str | None = None) -> list[ProcessDescription]:
        """Processes that the deployment knows, the oldest first."""
        return await asyncio.to_thread(self._client.list_processes, host=host)

    async def close(self) -> None:
        """Close what this client holds open."""
        await asyncio.to_thread(self._client.close)

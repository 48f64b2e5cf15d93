"""What Python code does with processes: start them, send to them, end them, wait for their end."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestration.client.arguments import check_topic, plain_map, signal_list, wait_seconds
from orchestration.client.identity import identity_of
from orchestration.core import payload
from orchestration.core.checks import check_text
from orchestration.core.events import Code
from orchestration.core.identity import Actor
from orchestration.core.pid import parse_pid
from orchestration.errors import ApplicationError, ProcessNotFoundError, ProcessStartError
from orchestration.host.mailbox import Event
from orchestration.host.mailbox_cell import new_future, problem_error
from orchestration.host.monitors import Exit
from orchestration.host.spawning import SpawnRequest
from orchestration.host.wire import address_of
from orchestration.registry.kinds.processes import ProcessHost
from orchestration.store.inputs import encode_input
from orchestration.tasks.runtime import Runtime

if TYPE_CHECKING:
    from orchestration.client.subscriptions import Line
    from orchestration.host.node import Node

__all__ = [
    "ProcessDescription", "ProcessHandle", "Processes", "Target", "end_of", "is_process", "is_workflow", "late_end",
    "late_start", "started",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessDescription:
    """A process that the deployment knows.

    Attributes:
        pid: Its address.
        entry_id: Entry whose code it runs; empty for an address of Python code.
        host: Its host; of a function that runs, the function's id; ``client`` for Python code.
        names: Names that it is registered under.
        node: Id of the OS process that runs it.
        machine: Where that is.
        os_pid: Its number there.
        since_ms: When it became known, in milliseconds since 1970.
    """

    pid: str
    entry_id: str
    host: str
    names: tuple[str, ...]
    node: str
    machine: str
    os_pid: int
    since_ms: int


def is_process(pid: str) -> bool:
    """Whether a text is the address of a process."""
    return address_of(pid) is not None


def is_workflow(pid: str) -> bool:
    """Whether a text is the address of a workflow."""
    return address_of(pid) is None and parse_pid(pid) is not None


class Processes:
    """The processes of a deployment, as one OS process of it sees them. What it begins is answered by futures.

    Args:
        runtime: Gives the working parts of this OS process, other ones after a fork.
    """

    def __init__(self, runtime: Callable[[], Runtime]) -> None:
        self._runtime = runtime
        self.lines: weakref.WeakSet[Line] = weakref.WeakSet()
        """Addresses of subscriptions that are open."""

    @property
    def node(self) -> Node:
        """This OS process in the world of processes."""
        return self._runtime().node

    def encode(self, values: Sequence[Any]) -> bytes:
        """Values as they are sent.

        Raises:
            EncodeError: One cannot be carried.
            PayloadTooLargeError: They are above the limit.
        """
        return payload.encode(list(values), limit=self._runtime().settings.value_limit_bytes)

    def request(
        self, process_id: str, host_id: str, args: Sequence[Any], *, name: str | None,
        context: Mapping[str, Any] | None, messages: Sequence[tuple[str, Sequence[Any]]], actor: Actor | None,
        scope: Sequence[str] | None,
    ) -> SpawnRequest:  # fmt: skip
        """What is wanted of a host; see :meth:`Client.spawn`."""
        runtime = self._runtime()
        limit = runtime.settings.value_limit_bytes
        check_text("a process id", process_id, least=1)
        check_text("a host id", host_id, least=1)
        host = runtime.registry.find(host_id)
        if host is not None and not isinstance(host, ProcessHost):
            text = f"{host_id} is a {host.kind}, no process.host: workflows are started with start_workflow"
            raise ProcessStartError(text, "Invalid", False)
        return SpawnRequest(
            entry_id=process_id, host=host_id, args=self.encode(args),
            context=plain_map("context", context, limit=limit),
            identity=identity_of(runtime.registry.policies, actor, scope),
            name=check_text("a name", name, least=1) if name is not None else "",
            messages=tuple(signal_list(messages, limit=limit)), is_trusted=True,
        )  # fmt: skip

    def spawn(self, request: SpawnRequest) -> Future[Exit]:
        """Start a process."""
        return self.node.monitors.spawn(request)

    def send(self, dest: str, topic: str, values: Sequence[Any]) -> Future[None]:
        """Send a message that nobody is named as the sender of."""
        item = encode_input(Code.SIGNAL, check_topic(topic), self.encode(values), "")
        return self._ask(lambda answer: self.node.routes.send(dest, item, answer))

    def cancel(self, dest: str, reason: str) -> Future[None]:
        """Ask a process to end."""
        return self._ask(lambda answer: self.node.routes.cancel(dest, reason, "", answer))

    def terminate(self, dest: str) -> Future[None]:
        """End a process."""
        return self._ask(lambda answer: self.node.routes.terminate(dest, "", answer))

    def lookup(self, name: str) -> str:
        """Address behind a name; an address is its own.

        Raises:
            ProcessNotFoundError: Nobody has the name.
        """
        if parse_pid(check_text("a name", name)) is not None:
            return name
        found = self.node.names.lookup(name)
        if found is None:
            text = f"could not resolve {name!r} as PID or registered name"
            raise ProcessNotFoundError(text, "NotFound", False)
        return found

    def watch(self, pid: str) -> Exit:
        """The end of a process."""
        return self.node.monitors.watch(self.lookup(pid))

    def list(self, host: str | None) -> list[ProcessDescription]:
        """Every process that is known."""
        actors = self.node.actors
        names: dict[str, list[str]] = {}
        for name, pid in actors.names().items():
            names.setdefault(pid, []).append(name)
        found = []
        for node, info in actors.nodes().items():
            for unique, facts in actors.living(node).items():
                place = str(facts.get("place", ""))
                if host is not None and place != host:
                    continue
                pid = f"{{{node}@{place}|{unique}}}"
                process = ProcessDescription(
                    pid=pid, entry_id=str(facts.get("entry", "")), host=place, names=tuple(sorted(names.get(pid, ()))),
                    node=node, machine=str(info.get("machine", "")), os_pid=int(info.get("os_pid", 0)),
                    since_ms=int(facts.get("since_ms", 0)),
                )  # fmt: skip
                found.append(process)
        return sorted(found, key=lambda process: (process.since_ms, process.pid))

    def close(self) -> None:
        """Close the subscriptions, and leave the deployment if nothing else lives here."""
        for line in list(self.lines):
            line.close()
        node = self._runtime().known_node
        if node is not None and not node.cells:
            node.membership.retire()

    def _ask(self, ask: Callable[[Callable[[ApplicationError | None], None]], None]) -> Future[None]:
        future: Future[None] = new_future()

        def answer(problem: ApplicationError | None) -> None:
            if problem is None:
                future.set_result(None)
            else:
                future.set_exception(problem_error(problem))

        ask(answer)
        return future


class Target:
    """One process that somebody may wait for.

    Args:
        processes: Of the client.
        pid: Its address.
        found: Its end, if that is watched.
    """

    def __init__(self, processes: Processes, pid: str, found: Exit | None = None) -> None:
        self.processes = processes
        self.pid = pid
        self._exit = found
        self._node = processes.node if found is not None else None

    def watch(self) -> Exit:
        """Its end; watched anew in a process that was forked meanwhile, and when it could not be watched.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        found = self._exit
        if found is not None and found.future.done() and found.future.exception() is None:
            return found
        node = self.processes.node
        if found is None or found.future.done() or self._node is not node:
            found = self._exit = node.monitors.watch(self.pid)
            self._node = node
        return found

    def cancel(self, reason: str) -> Future[None]:
        """Ask it to end; watched before, so that who waits next cannot come too late."""
        self.watch()
        return self.processes.cancel(self.pid, reason)

    def terminate(self) -> Future[None]:
        """End it; watched before."""
        self.watch()
        return self.processes.terminate(self.pid)


class ProcessHandle:
    """One process, to be sent to, ended and waited for; from any thread.

    Args:
        target: The process.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._processes = target.processes
        self.pid = target.pid

    def __repr__(self) -> str:
        return f"<ProcessHandle {self.pid}>"

    def send(self, topic: str, *payloads: Any) -> None:
        """Send a message to the process; it is in its mailbox when this returns.

        Args:
            topic: Its name.
            payloads: Values; each becomes one payload.

        Raises:
            ProcessNotFoundError: It has ended.
            EncodeError: A value cannot be carried.
            PayloadTooLargeError: The values are above the limit.
            ValueError: The topic is empty or begins with ``@``.
            StoreUnavailableError: Redis does not answer.
        """
        self._processes.send(self.pid, topic, payloads).result()

    def cancel(self, reason: str = "") -> None:
        """Ask the process to end: it gets a CANCEL event and decides itself. Its end is watched from here on.

        Args:
            reason: Why; its code reads it in the event.

        Raises:
            ProcessNotFoundError: It has ended.
        """
        self._target.cancel(check_text("a reason", reason)).result()

    def terminate(self) -> None:
        """End the process without running its code again. Its end is watched from here on.

        Raises:
            ProcessNotFoundError: It has ended.
        """
        self._target.terminate().result()

    def result(self, timeout: float | timedelta | None = None) -> Any:
        """Wait for the end of the process and return what it returned; safe to repeat, and from several threads.

        Args:
            timeout: Longest wait, in seconds or as a timedelta; None waits for ever. The process goes on.

        Raises:
            ProcessFailedError: It ended with an error, or its worker is gone.
            ProcessNotFoundError: It had ended before it was watched: a handle of ``spawn`` watches from the start, one
                of ``get_process`` from the first call of this, of ``cancel`` or of ``terminate`` on.
            TimeoutError: It has not ended yet; wait again.
            StoreUnavailableError: Redis does not answer.
        """
        seconds = wait_seconds(timeout)
        return end_of(self._target.watch(), seconds)


def end_of(found: Exit, seconds: float | None) -> Any:
    """Wait for an end.

    Raises:
        TimeoutError: It has not come yet.
    """
    try:
        event: Event = found.future.result(seconds)
    except TimeoutError:
        if found.future.done() and found.future.exception() is not None:
            raise
        raise TimeoutError(late_end(found.pid, seconds)) from None
    return event.outcome()


def late_end(pid: str, seconds: float | None) -> str:
    """What is said when an end has not come in time."""
    return f"process {pid} has not ended within {seconds or 0:g} s"


def started(answer: Future[Exit], request: SpawnRequest, seconds: float | None) -> Exit:
    """Wait for the start of a process.

    Raises:
        TimeoutError: It has not been started yet.
    """
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise TimeoutError(late_start(request, seconds)) from None


def late_start(request: SpawnRequest, seconds: float | None) -> str:
    """What is said when a start was not answered in time."""
    return f"{request.entry_id} has not been started on {request.host} within {seconds or 0:g} s; it may be still"

"""The verbs of a client that are about processes, and those that are about processes and workflows alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from orchestration.client.arguments import wait_seconds
from orchestration.client.handle import WorkflowHandle
from orchestration.client.processes import (
    ProcessDescription,
    Processes,
    ProcessHandle,
    Target,
    end_of,
    is_process,
    is_workflow,
    started,
)
from orchestration.client.subscriptions import Subscription, check_topics
from orchestration.core.checks import check_text
from orchestration.core.identity import Actor
from orchestration.errors import ProcessNotFoundError

__all__ = ["ProcessVerbs", "check_pid", "check_process"]


def check_pid(pid: str | None) -> str | None:
    """Refuse what can be neither an address nor a name; None stays None."""
    return None if pid is None else check_text("an address", pid, least=1)


def check_process(pid: str) -> str:
    """Refuse what is not the address of a process.

    Raises:
        ProcessNotFoundError: It is a name, or the address of a workflow.
    """
    if not is_process(check_text("an address", pid)):
        what = "the address of a workflow: take get_by_pid" if is_workflow(pid) else "no address: lookup finds names"
        raise ProcessNotFoundError(f"{pid!r} is {what}", "NotFound", False)
    return pid


class ProcessVerbs:
    """What a :class:`~orchestration.client.Client` does with processes."""

    _processes: Processes

    def get_by_pid(self, pid: str) -> WorkflowHandle:
        """Handle of the workflow with an address."""
        raise NotImplementedError

    def spawn(
        self, process_id: str, host_id: str, *args: Any, name: str | None = None,
        context: Mapping[str, Any] | None = None, messages: Sequence[tuple[str, Sequence[Any]]] = (),
        actor: Actor | None = None, scope: Sequence[str] | None = None, timeout: float | timedelta | None = None,
    ) -> ProcessHandle:  # fmt: skip
        """Start a process on a host; its code is loaded when this returns.

        Its end is watched from before its code runs, for as long as somebody has the handle.

        Args:
            process_id: Entry id of a ``process.lua`` or ``process.python``. It may be unknown here: the worker that
                serves the host has its code.
            host_id: Entry id of a ``process.host``; one of the workers that serve it is chosen.
            args: Arguments of its main function.
            name: To be registered; when a process has it already, nothing is started: that one gets the messages, and
                the handle is its.
            context: Context values, read with ``ctx`` in Lua.
            messages: Startup messages, topic and payloads, delivered with the start; they have no sender.
            actor: In whose name it runs, and all that it calls and starts; None: nobody's.
            scope: Ids of the policies, or groups of policies, that say what it may do; None: no scope.
            timeout: Longest wait, in seconds or as a timedelta; it may be started still when it is over. None waits as
                long as the host's ``start_timeout`` says.

        Returns:
            Its handle.

        Raises:
            ProcessStartError: It could not be started; ``kind`` says why: no such entry or host, or nobody serves it.
            EncodeError: An argument cannot be carried; the message has its path.
            PayloadTooLargeError: The arguments are above the limit.
            ValueError: A topic, an id or a policy is none.
            StoreUnavailableError: Redis does not answer.
            TimeoutError: No answer in time.
        """
        seconds, processes = wait_seconds(timeout), self._processes
        request = processes.request(
            process_id, host_id, args, name=name, context=context, messages=messages, actor=actor, scope=scope
        )
        found = started(processes.spawn(request), request, seconds)
        return ProcessHandle(Target(processes, found.pid, found))

    def send(self, pid: str, topic: str, *payloads: Any) -> None:
        """Send a message to a process, a function that runs, or a workflow; it has it when this returns.

        Nobody is named as the sender; for answers, send from a subscription.

        Args:
            pid: Its address, as ``handle.pid`` and ``process.pid()`` give it, or the registered name of a process.
            topic: Name of the message; it does not begin with ``@``.
            payloads: Values; each becomes one payload.

        Raises:
            ProcessNotFoundError: Nobody has this name or address, or not any more.
            WorkflowNotFoundError: It is the address of a workflow, and there is none.
            WorkflowClosedError: The workflow has ended.
            EncodeError: A value cannot be carried.
            ValueError: The topic is none.
            StoreUnavailableError: Redis does not answer.
        """
        if is_workflow(check_text("an address", pid, least=1)):
            self.get_by_pid(pid).signal(topic, *payloads)
        else:
            self._processes.send(pid, topic, payloads).result()

    def cancel(self, pid: str, reason: str = "") -> None:
        """Ask a process, a function that runs, or a workflow to end: it gets a CANCEL event and decides itself.

        Args:
            pid: Its address, or the registered name of a process.
            reason: Why; the code reads it in the event.

        Raises:
            ProcessNotFoundError: Nobody has this name or address, or not any more.
            WorkflowNotFoundError: It is the address of a workflow, and there is none.
            WorkflowClosedError: The workflow has ended.
        """
        check_text("a reason", reason)
        if is_workflow(check_text("an address", pid, least=1)):
            self.get_by_pid(pid).cancel(reason)
        else:
            self._processes.cancel(pid, reason).result()

    def terminate(self, pid: str) -> None:
        """End a process, a function that runs, or a workflow, without running its code again.

        Args:
            pid: Its address, or the registered name of a process.

        Raises:
            ProcessNotFoundError: Nobody has this name or address, or not any more.
            WorkflowNotFoundError: It is the address of a workflow, and there is none.
            WorkflowClosedError: The workflow has ended.
        """
        if is_workflow(check_text("an address", pid, least=1)):
            self.get_by_pid(pid).terminate()
        else:
            self._processes.terminate(pid).result()

    def lookup(self, name: str) -> str:
        """Address of the process with a registered name.

        Args:
            name: As ``process.registry.register`` or a spawn gave it; an address is answered as it is.

        Returns:
            Its address.

        Raises:
            ProcessNotFoundError: Nobody has the name.
            StoreUnavailableError: Redis does not answer.
        """
        return self._processes.lookup(name)

    def monitor(self, pid: str, timeout: float | timedelta | None = None) -> Any:
        """Wait for the end of a process or workflow and return what it returned.

        Args:
            pid: Its address, or the registered name of a process.
            timeout: Longest wait, in seconds or as a timedelta; None waits for ever.

        Raises:
            ProcessNotFoundError: Nobody has this name or address, or not any more.
            ProcessFailedError: It ended with an error, or its worker is gone.
            WorkflowFailedError: The workflow ended with an error.
            WorkflowNotFoundError: It is the address of a workflow, and there is none.
            TimeoutError: It has not ended yet.
            StoreUnavailableError: Redis does not answer.
        """
        seconds = wait_seconds(timeout)
        if is_workflow(check_text("an address", pid, least=1)):
            return self.get_by_pid(pid).result(seconds)
        return end_of(self._processes.watch(pid), seconds)

    def get_process(self, pid: str) -> ProcessHandle:
        """Handle of the process with an address; whether it lives is seen at the first call on it.

        Args:
            pid: Its address.

        Raises:
            ProcessNotFoundError: The text is no address of a process.
        """
        return ProcessHandle(Target(self._processes, check_process(pid)))

    def subscribe(
        self, pid: str | None = None, *, topic: str | Sequence[str] | None = None,
        timeout: float | timedelta | None = None,
    ) -> Subscription:  # fmt: skip
        """Take an address that processes, functions and workflows can send to, and read what they send.

        Args:
            pid: Address of a process or workflow, or name of a process, to be followed: iteration ends when it ends.
            topic: Keep messages of this topic, or of these topics, alone; others are dropped as they come. None: all.
            timeout: Longest wait of the iterator for each message, in seconds or as a timedelta; None waits for ever.

        Returns:
            An iterator of messages, to be used with ``with``.

        Raises:
            ProcessNotFoundError: Nobody has this name or address, or not any more.
            ValueError: A topic is none.
            StoreUnavailableError: Redis does not answer.
        """
        return Subscription(self._processes, check_pid(pid), check_topics(topic), wait_seconds(timeout))

    def list_processes(self, *, host: str | None = None) -> list[ProcessDescription]:
        """Processes that the deployment knows, the oldest first.

        A process of a host is known from its start on, a function that runs and an address of Python code from when it
        has told its address. One of a worker that has died is listed until that is noticed, for some seconds.

        Args:
            host: Only those of this host; None: all.

        Returns:
            What each is, and where it runs.
        """
        return self._processes.list(host if host is None else check_text("a host id", host))

    def close(self) -> None:
        """Close the subscriptions of this client; it can be used again.

        When nothing else of this OS process takes part, it leaves the world of processes; that happens by itself too,
        after half a minute in which nothing is waited for, and at the end of Python.
        """
        self._processes.close()

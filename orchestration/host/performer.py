"""Does what the code of a process or function asks for, and feeds the answers back. Nothing here waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.failures import failure_of
from orchestration.core.identity import Identity
from orchestration.errors import ApplicationError, StoreError
from orchestration.host import workflows
from orchestration.host.cell import Cell, Ending
from orchestration.host.spawning import SpawnRequest
from orchestration.modules.permissions import find_target, has_target, is_guarded, refused_command
from orchestration.modules.verbs import perform
from orchestration.registry.kinds.lua import WORKER_KINDS
from orchestration.store.inputs import encode_input

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["Performer"]

logger = logging.getLogger(__name__)

_FAILED: Final = {
    Code.SCHEDULE_ACTIVITY: Code.ACTIVITY_FAILED, Code.START_CHILD: Code.CHILD_START_FAILED,
}  # fmt: skip
_TEXTS: Final[Mapping[int, int]] = {
    Code.SEND_SIGNAL: 1, Code.CANCEL_EXTERNAL: 1, Code.WATCH: 1, Code.START_CHILD: 2, Code.SCHEDULE_ACTIVITY: 1,
}  # fmt: skip
"""How many fields of a command are text, beside its number."""


class Performer:
    """Commands of the cells of one node.

    Args:
        node: The node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._verbs: dict[int, Callable[..., None]] = {
            Code.SCHEDULE_ACTIVITY: node.calls.call,
            Code.START_TIMER: lambda cell, seq, delay_ms: cell.start_timer(seq, delay_ms),
            Code.CANCEL_TIMER: lambda cell, seq: cell.stop_timer(seq),
            Code.CANCEL_ACTIVITY: node.calls.cancel,
            Code.SEND_SIGNAL: self._send,
            Code.START_CHILD: self._spawn,
            Code.CANCEL_EXTERNAL: self._stop,
            Code.WATCH: self._watch,
            Code.PERFORM: self._perform,
        }

    def perform(self, cell: Cell, code: int, rest: list[Any]) -> None:
        """Do what one command asks for, if it is permitted; what goes wrong is its answer."""
        try:
            _check_text(code, rest)
            if has_target(self._node.runtime, cell.caller.identity, code, rest):
                self._node.submit(lambda: self._find(cell, code, rest))
            else:
                self._decide(cell, code, rest)
        except Exception as error:  # noqa: BLE001 - nobody else would answer the code, which waits
            self._fail(cell, code, rest[0], error)

    def _find(self, cell: Cell, code: int, rest: list[Any]) -> None:
        """Find out what a command is about, before policies are asked."""
        try:
            find_target(self._node.runtime, cell.caller.identity, code, rest)
        except Exception as error:  # noqa: BLE001 - Redis is away; who asked is told
            self._answer(cell, rest[0], ApplicationError(str(error), kind="Unavailable", retryable=True))
            return
        try:
            self._decide(cell, code, rest)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(cell, code, rest[0], error)

    def _decide(self, cell: Cell, code: int, rest: list[Any]) -> None:
        refused = refused_command(self._node.runtime, cell.caller.identity, code, rest, cell.pid)
        if refused is not None:
            cell.push(refused)
        else:
            self.act(cell, code, rest)

    def act(self, cell: Cell, code: int, rest: list[Any]) -> None:
        """Do what one command asks for, without asking whether it is permitted."""
        self._verbs[code](cell, *rest)

    def may_send(self, cell: Cell, pid: str) -> bool:
        """Whether a cell may send to an address, without asking; False: a command has to ask."""
        del pid
        return not is_guarded(self._node.runtime, cell.caller.identity)

    def _fail(self, cell: Cell, code: int, seq: int, error: Exception) -> None:
        """Answer a command that could not even be begun."""
        if isinstance(error, StoreError):
            error = ApplicationError(str(error), kind="Unavailable", retryable=True)
        elif not isinstance(error, ApplicationError):
            logger.error("a command of %s failed", cell.pid, exc_info=error)
        failure = payload.encode(failure_of(error))
        if code in _FAILED:
            cell.push(encode_input(_FAILED[Code(code)], seq, failure))
        else:
            cell.push(encode_input(Code.OPERATION_DONE, seq, False, failure))

    def _answer(self, cell: Cell, seq: int, problem: ApplicationError | None, value: Any = None) -> None:
        data = payload.encode(value if problem is None else failure_of(problem))
        cell.push(encode_input(Code.OPERATION_DONE, seq, problem is None, data))

    def _send(self, cell: Cell, seq: int, dest: str, topic: str, args: bytes) -> None:
        self._node.expose(cell)
        item = encode_input(Code.SIGNAL, topic, args, cell.pid)
        self._node.routes.send(dest, item, lambda problem: self._answer(cell, seq, problem))

    def _stop(self, cell: Cell, seq: int, dest: str, reason: str, terminate: bool) -> None:
        routes = self._node.routes

        def answer(problem: ApplicationError | None) -> None:
            self._answer(cell, seq, _as_internal(problem))

        if terminate:
            routes.terminate(dest, cell.pid, answer)
        else:
            self._node.expose(cell)
            routes.cancel(dest, reason, cell.pid, answer)

    def _watch(self, cell: Cell, seq: int, dest: str, how: str) -> None:
        self._node.expose(cell)
        self._node.routes.watch(cell, dest, how, lambda problem: self._answer(cell, seq, _as_internal(problem)))

    def _perform(self, cell: Cell, seq: int, name: str, args: bytes) -> None:
        if name.startswith("process."):
            self._name(cell, seq, name, payload.decode(args))
            return

        def work() -> None:
            cell.push(encode_input(Code.OPERATION_DONE, seq, *perform(cell.caller, name, args)))

        self._node.submit(work)

    def _name(self, cell: Cell, seq: int, name: str, args: list[Any]) -> None:
        node = self._node

        def answer(problem: ApplicationError | None, value: Any) -> None:
            self._answer(cell, seq, problem, value)

        if name == "process.register":
            node.expose(cell)
            node.names.register(str(args[0]), str(args[1]), answer)
        elif name == "process.unregister":
            node.names.unregister(str(args[0]), answer)
        else:

            def look() -> None:
                try:
                    found = node.names.lookup(str(args[0]))
                except Exception as error:  # noqa: BLE001 - Redis is away; who asked is told
                    answer(ApplicationError(str(error), kind="Unavailable", retryable=True), None)
                    return
                problem = ApplicationError("name not registered", kind="NotFound", retryable=False)
                answer(None if found else problem, found)

            node.submit(look)

    def _spawn(self, cell: Cell, seq: int, entry_id: str, host: str, args: bytes, options: dict[str, Any]) -> None:
        node = self._node
        node.expose(cell)
        context = {**cell.caller.context, **options.get("ctx", {})}
        identity = Identity.of(options, cell.caller.identity)
        waits = bool(options.get("wait"))
        registry = node.runtime.registry
        entry = registry.find(host) if host else None
        if not host or (entry is not None and entry.kind in WORKER_KINDS) or (
            entry is None and registry.workflow_type(entry_id) is not None
        ):
            node.submit(lambda: self._spawn_workflow(cell, seq, entry_id, host, args, options, context, identity))
            return

        def answer(ok: bool, value: bytes) -> None:
            if ok:
                cell.push(encode_input(Code.CHILD_STARTED, seq, payload.decode(value)))
            else:
                cell.push(encode_input(Code.CHILD_START_FAILED, seq, value))

        def ended(ending: Ending) -> None:
            cell.push(encode_input(Code.CHILD_ENDED, seq, "", ending.ok, ending.value))

        request = SpawnRequest(
            entry_id=entry_id, host=host, args=args, context=context, identity=identity,
            name=str(options.get("name") or ""),
            messages=tuple((topic, payload.encode(_list(values))) for topic, values in options.get("messages") or ()),
            parent=cell.pid, monitors=bool(options.get("monitor")), links=bool(options.get("link")), depth=cell.depth,
            in_slot=cell.in_slot,
        )  # fmt: skip
        node.spawning.spawn(request, answer, on_end=ended if waits else None)

    def _spawn_workflow(
        self, cell: Cell, seq: int, workflow_type: str, host: str, args: bytes, options: dict[str, Any],
        context: dict[str, Any], identity: Identity,
    ) -> None:  # fmt: skip
        node = self._node
        try:
            node.check()
            pid, namespace, run_id = workflows.spawn(
                node, cell, workflow_type, host, args, options=options, context=context, identity=identity
            )
            for how in ("monitor", "link"):
                if options.get(how):
                    workflows.watch(node, cell, pid, how)
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            cell.push(encode_input(Code.CHILD_START_FAILED, seq, payload.encode(failure_of(error))))
            return
        cell.push(encode_input(Code.CHILD_STARTED, seq, pid))
        if options.get("wait"):
            workflows.expect_end(node, cell, seq, namespace, run_id, pid)


def _check_text(code: int, rest: list[Any]) -> None:
    """Addresses, names and ids are text: Lua's strings that are none come as bytes.

    Raises:
        ApplicationError: One of them is no text.
    """
    fields = [*rest[1 : 1 + _TEXTS.get(code, 0)]]
    if code == Code.START_CHILD:
        fields.append(rest[4].get("name"))
    elif code == Code.PERFORM and rest[1].startswith("process."):
        fields += payload.decode(rest[2])
    if any(isinstance(field, bytes) for field in fields):
        raise ApplicationError("an address, name or id must be UTF-8 text", kind="Invalid", retryable=False)


def _as_internal(problem: ApplicationError | None) -> ApplicationError | None:
    """What is said of a failed terminate, cancel, monitor or link: the kind of its cause stands in the details."""
    if problem is None:
        return None
    details = {**(problem.details or {}), "kind": problem.kind}
    return ApplicationError(problem.message, kind="Internal", retryable=False, details=details)


def _list(value: Any) -> list[Any]:
    """An empty Lua table may come as a map."""
    return list(value) if isinstance(value, (list, tuple)) else []

"""Starting processes: here, on another node that serves the host, or, where the host is a worker, as a workflow."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.failures import failure_of
from orchestration.core.identity import Identity
from orchestration.errors import ApplicationError
from orchestration.host.cell import Cell, Ending
from orchestration.host.lua_cell import LuaCell
from orchestration.host.names import problem_of
from orchestration.host.python_cell import PythonCell
from orchestration.modules.permissions import permitted
from orchestration.registry.kinds.lua import ProcessLua
from orchestration.registry.kinds.processes import ProcessHost, ProcessPython
from orchestration.store.base import text
from orchestration.store.inputs import encode_input

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["SpawnRequest", "Spawning"]

logger = logging.getLogger(__name__)

Answer = Callable[[bool, bytes], None]
_LOOK_S: Final = 0.5
_PAUSE_S: Final = 0.02
_MOST_TRIES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnRequest:
    """A process that somebody wants.

    Attributes:
        entry_id: What it runs.
        host: Entry id of its host.
        args: Encoded array.
        context: Context values.
        identity: Actor and scope.
        name: Name to take; when somebody has it, that process gets the messages and nothing is started.
        messages: Topics and encoded payloads for after the start.
        parent: Address of who asks; empty: nobody's.
        monitors: The parent is told of its end.
        links: The parent and it are linked.
        call: How another node is told of its end, see ``Routes.expect_end``; empty: not at all.
        depth: How many calls the parent is deep in.
        in_slot: A slot of a Celery worker is held while it runs.
        is_trusted: The application's own Python code asks: no policy says whom it may send to and watch.
        tries: How often the name was taken by a process that had just ended.
    """

    entry_id: str
    host: str
    args: bytes = payload.EMPTY_ARRAY
    context: Mapping[str, Any] = field(default_factory=dict)
    identity: Identity = field(default_factory=Identity)
    name: str = ""
    messages: tuple[tuple[str, bytes], ...] = ()
    parent: str = ""
    monitors: bool = False
    links: bool = False
    call: str = ""
    depth: int = 0
    in_slot: bool = False
    is_trusted: bool = False
    tries: int = 0


class Spawning:
    """Starts processes of one node.

    Args:
        node: The node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.is_stopping = False

    def spawn(
        self, request: SpawnRequest, answer: Answer, *, on_end: Callable[[Ending], None] | None = None
    ) -> None:  # fmt: skip
        """Start a process.

        Args:
            request: What is wanted.
            answer: Told True and the encoded address once its code is loaded, or False and an encoded failure.
            on_end: Told how it ended, wherever it runs; not after a failed start.
        """
        node = self._node
        if request.host in node.membership.hosts:
            self._spawn_here(request, answer, on_end)
            return
        host = node.runtime.registry.find(request.host)
        if host is not None and not isinstance(host, ProcessHost):
            _refuse(answer, "Internal", "host does not implement process.Host", {"host_id": request.host})
            return

        def begin() -> None:
            try:
                self._spawn_there(request, answer, on_end)
            except Exception as error:  # noqa: BLE001 - Redis is away; whoever asked is told
                answer(False, payload.encode_failure(str(error), kind="Unavailable", retryable=True))

        node.submit(begin)

    def spawn_for_other(self, fields: dict[str, Any], answer: Answer) -> None:
        """Start a process that another node asks for."""
        identity = Identity.of(fields)
        request = SpawnRequest(
            entry_id=fields["entry"], host=fields["host"], args=fields["args"], context=fields["ctx"],
            identity=identity, name=fields["name"], messages=tuple((topic, args) for topic, args in fields["messages"]),
            parent=fields["parent"], monitors=fields["monitors"], links=fields["links"], call=fields["call"],
            in_slot=bool(fields.get("in_slot")), is_trusted=bool(fields.get("trusted")),
        )  # fmt: skip
        if request.host not in self._node.membership.hosts:
            _refuse(answer, "Unavailable", f"host is not running: {request.host}", {"host_id": request.host})
            return
        self._spawn_here(request, answer, None, is_for_other=True)

    # Here -----------------------------------------------------------------------------------------------------

    def make_cell(self, request: SpawnRequest) -> Cell:
        """The cell for a process.

        Raises:
            ApplicationError: There is no such entry, or it is no process.
        """
        node = self._node
        entry = node.runtime.registry.find(request.entry_id)
        if isinstance(entry, ProcessPython):
            caller = node.caller(request.entry_id, request.context, request.identity)
            return PythonCell(node, entry, request.host, caller)
        if not isinstance(entry, ProcessLua):
            raise ApplicationError(
                "factory not found", kind="NotFound", retryable=False, details={"id": request.entry_id}
            )
        return LuaCell(
            node, request.entry_id, request.host, node.caller(request.entry_id, request.context, request.identity)
        )

    def _spawn_here(
        self, request: SpawnRequest, answer: Answer, on_end: Callable[[Ending], None] | None, *,
        is_for_other: bool = False,
    ) -> None:  # fmt: skip
        node = self._node
        if self.is_stopping:
            _refuse(answer, "Unavailable", f"host is shutting down: {request.host}", {"host_id": request.host})
            return
        crowded = node.crowded()
        if crowded is not None:
            answer(False, payload.encode(failure_of(crowded)))
            return
        try:
            cell = self.make_cell(request)
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            answer(False, payload.encode(failure_of(error)))
            return
        cell.is_public, cell.caller.node = True, node.id
        node.add(cell)  # before others can know of it: what they send waits for its start

        def registered(status: str, rest: list[Any]) -> None:
            if status == "taken":
                node.end(cell, Ending(True))
                if is_for_other:  # a list: who asked has to go on
                    answer(True, payload.encode([text(rest[0])]))
                else:
                    self._signal(text(rest[0]), request, answer, on_end)
                return
            problem = problem_of(status, rest, cell.pid)
            if problem is not None:
                node.end(cell, Ending(True))
                answer(False, payload.encode(failure_of(problem)))
                return
            if request.name:
                node.names.add(cell, request.name)
            self._begin(cell, request, answer, on_end)

        node.post.order(
            node.actors.register(node.id, cell.unique, cell.pid, node.describe(cell), name=request.name), registered
        )

    def _begin(
        self, cell: Cell, request: SpawnRequest, answer: Answer, on_end: Callable[[Ending], None] | None
    ) -> None:  # fmt: skip
        node = self._node
        parent = node.find(request.parent) if request.parent else None
        if request.monitors:
            node.bonds.watch(cell, request.parent, "exit")
            if parent is not None:
                parent.watched.add(cell.pid)
        if request.links:
            node.bonds.link(cell, request.parent)
            if parent is not None:
                node.bonds.link(parent, cell.pid)
            else:
                node.bonds.tell_of_dead(request.parent, cell.pid)
        if request.call:
            node.bonds.watch(cell, request.parent, request.call)

        def refused(ending: Ending) -> None:
            if parent is not None:
                parent.links.discard(cell.pid)
                parent.watched.discard(cell.pid)
            answer(False, ending.value)

        cell.refused = refused
        cell.depth, cell.in_slot = request.depth, request.in_slot
        for topic, args in request.messages:
            cell.push(encode_input(Code.SIGNAL, topic, args, ""))

        def loaded() -> None:
            answer(True, payload.encode(cell.pid))
            if on_end is not None:
                cell.when_ended(on_end)

        cell.run(request.args, loaded)
        if cell.ended is not None:  # while it was made known: nobody has seen who is to be told
            cell.refused, missed = None, cell.refused
            if missed is not None:
                missed(cell.ended)

    def _signal(
        self, pid: str, request: SpawnRequest, answer: Answer, on_end: Callable[[Ending], None] | None
    ) -> None:  # fmt: skip
        """The name is taken: its process is watched as was asked, then gets the messages."""
        node = self._node
        parent = node.find(request.parent) if request.parent else None
        wanted = [how for how, is_wanted in (("monitor", request.monitors), ("link", request.links)) if is_wanted]
        for verb in [] if request.is_trusted else ["send"] * bool(request.messages) + wanted:
            if not permitted(node.runtime, request.identity, f"process.{verb}", pid, request.parent):
                _refuse(answer, "PermissionDenied", f"not allowed to process.{verb}: {pid}", {})
                return
        cell = node.find(pid)
        if cell is not None and cell.is_closing:
            self._once_more(ApplicationError("process closed", kind="InvalidState"), request, answer, on_end)
            return
        messages = [encode_input(Code.SIGNAL, topic, args, "") for topic, args in request.messages]
        steps: list[Callable[[Callable[[ApplicationError | None], None]], None]] = []
        if parent is not None:
            steps += [partial(node.routes.watch, parent, pid, how) for how in wanted]
        if on_end is not None:
            steps.append(partial(node.routes.await_end, pid, on_end))
        if messages:
            steps.append(partial(node.routes.send, pid, messages[0]))

        def go_on(done: int, problem: ApplicationError | None = None) -> None:
            if problem is not None and done == 1:
                self._once_more(problem, request, answer, on_end)
            elif problem is None and done < len(steps):
                steps[done](partial(go_on, done + 1))
            else:  # one that has ended meanwhile reads no more, and who watches it hears of it
                for message in messages[1:]:
                    node.routes.send(pid, message, lambda _problem: None)
                answer(True, payload.encode(pid))

        go_on(0)

    def _once_more(
        self, problem: ApplicationError, request: SpawnRequest, answer: Answer, on_end: Callable[[Ending], None] | None
    ) -> None:  # fmt: skip
        """Who had the name has ended, or is about to: it is free soon."""
        if problem.kind not in ("NotFound", "InvalidState") or request.tries >= _MOST_TRIES:
            answer(False, payload.encode(failure_of(problem)))
            return
        node, again = self._node, replace(request, tries=request.tries + 1)
        node.timers.after(_PAUSE_S * again.tries, lambda: node.submit(lambda: self.spawn(again, answer, on_end=on_end)))

    # There ----------------------------------------------------------------------------------------------------

    def _spawn_there(
        self, request: SpawnRequest, answer: Answer, on_end: Callable[[Ending], None] | None
    ) -> None:  # fmt: skip
        node = self._node
        entry = node.runtime.registry.find(request.host)
        timeout_s = entry.lifecycle.start_timeout / 1000 if isinstance(entry, ProcessHost) else 0.0
        deadline = time.monotonic() + timeout_s
        while not (serving := node.actors.serving(request.host)):
            if entry is None:
                _refuse(answer, "NotFound", "host not found", {"host_id": request.host})
                return
            if time.monotonic() >= deadline:
                said = f"host is not running: no worker has served {request.host} for {timeout_s:g} s"
                _refuse(answer, "Unavailable", said, {"host_id": request.host})
                return
            time.sleep(_LOOK_S)
        to = random.choice(serving)
        if on_end is not None or request.parent:
            node.membership.join()
        asked = request
        if on_end is not None:
            how = node.routes.expect_end(to, on_end)
            request = replace(request, call=how, parent=request.parent or node.address)
        parent = node.find(request.parent) if request.parent else None

        def replied(ok: bool, value: bytes) -> None:
            found = payload.decode(value) if ok else None
            if request.call and not isinstance(found, str):
                node.routes.forget_end(request.call)
            if isinstance(found, list):
                node.submit(lambda: self._signal(str(found[0]), asked, answer, on_end))
                return
            if isinstance(found, str) and parent is not None:
                if request.monitors:
                    node.bonds.note_watched(parent, found)
                if request.links:
                    node.bonds.link(parent, found)
            elif isinstance(found, str) and request.links:
                node.bonds.tell_of_dead(request.parent, found)
            answer(ok, value)

        fields = {
            "entry": request.entry_id, "host": request.host, "args": request.args, "ctx": dict(request.context),
            "name": request.name, "messages": [list(message) for message in request.messages],
            "parent": request.parent, "monitors": request.monitors, "links": request.links, "call": request.call,
            "in_slot": request.in_slot, "trusted": request.is_trusted,
            **request.identity.fields(),
        }  # fmt: skip
        node.routes.request(to, "spawn", replied, fields, timeout_s=max(timeout_s, 10.0))


def _refuse(answer: Answer, kind: str, message: str, details: Mapping[str, Any]) -> None:
    answer(False, payload.encode_failure(message, kind=kind, retryable=False, details=details))

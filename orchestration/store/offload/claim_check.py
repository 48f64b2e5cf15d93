"""The claim check: at the border of the store, large items go into a stage before a script that refers to them runs.

Nobody else knows: what the store is given and what it answers are the items as they are. Off, nothing is looked at
when something is written; a stand-in that is read is an error that names the setting.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

from orchestration.errors import CorruptHistoryError, StoreError, StoreUnavailableError
from orchestration.store.connection import Connection
from orchestration.store.keys import Keyspace
from orchestration.store.offload import stand_in
from orchestration.store.offload.stages import Stage, StageError
from orchestration.store.offload.stand_in import Claim, is_stand_in

__all__ = ["ClaimCheck", "Writing"]

logger = logging.getLogger(__name__)

_DAY_MS: Final = 86_400_000
_PAGE_BYTES: Final = 4_194_304
"""About how much a lease brings at once, as ``include/run.lua`` has it for what is stored whole."""
_TIDY_S: Final = 60.0

_Making = Callable[[bytes, str], tuple[bytes, bytes]]


class Writing:
    """One write of the store. A context manager: it leaves no large item behind that nobody refers to for ever.

    Args:
        check: Of the store.
        workflow_id: Finds the workflow id; it is asked when there is something to offload.
        was_offloaded: Something of what is written has gone into the stage already.
    """

    def __init__(self, check: ClaimCheck, workflow_id: Callable[[], str | None], *, was_offloaded: bool) -> None:
        self._check = check
        self._find = workflow_id
        self._workflow_id: str | None = None
        self._was_offloaded = was_offloaded

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, StoreUnavailableError):
            return  # it has been waited for; the end of the run does this again
        if self._was_offloaded and (workflow_id := self._workflow_id or self._find()):
            self._check.settle(workflow_id)

    def input(self, item: bytes) -> bytes:
        """An input, as it is stored."""
        return self._store(item, stand_in.of_input)

    def inputs(self, items: Iterable[bytes]) -> list[bytes]:
        """Inputs, as they are stored."""
        return [self._store(item, stand_in.of_input) for item in items]

    def event(self, event: bytes) -> bytes:
        """An event, as it is stored."""
        return self._store(event, stand_in.of_event)

    def events(self, events: Iterable[bytes]) -> list[bytes]:
        """Events, as they are stored."""
        return [self._store(event, stand_in.of_event) for event in events]

    def ops(self, ops: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
        """Effects of a step, as ``redis_lua/include/step.lua`` names them."""
        return [self._op(op) for op in ops]

    def _op(self, op: Sequence[Any]) -> Sequence[Any]:
        name, *rest = op
        if name == "input":
            return [name, self._store(rest[0], stand_in.of_input)]
        if name == "open" and rest[1][:3] == stand_in.ACTIVITY:
            return [name, rest[0], self._store(rest[1], stand_in.of_activity)]
        if name == "answer":
            return [name, rest[0], self._store(rest[1], stand_in.of_answer), rest[2]]
        return op

    def _store(self, item: bytes, make: _Making) -> bytes:
        check = self._check
        if len(item) <= check.above_bytes or check.stage is None:
            return item
        if self._workflow_id is None:
            self._workflow_id = self._find()
            if self._workflow_id is None:
                return item  # of a run that is not known any more: the script refuses it
        scope = check.scope(self._workflow_id)
        stored, data = make(item, scope)
        self._was_offloaded = True
        check.stage.put(scope, Claim.read(stored).digest, data)
        return stored


class _Off(Writing):
    """A write without a stage."""

    def __init__(self) -> None:
        """Nothing is kept."""

    def __exit__(self, *_error: object) -> None:
        """Nothing is left."""

    def input(self, item: bytes) -> bytes:
        return item

    def inputs(self, items: Iterable[bytes]) -> list[bytes]:
        return list(items)

    def event(self, event: bytes) -> bytes:
        return event

    def events(self, events: Iterable[bytes]) -> list[bytes]:
        return list(events)

    def ops(self, ops: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
        return list(ops)


_OFF: Final = _Off()


class ClaimCheck:
    """Offloads what is written, and finds what is read.

    Args:
        connection: Of the store.
        keyspace: Of the store.
        stage: Where large items go; None: nowhere.
        above_bytes: Items above this size are large.
        retention_ms: How long ended runs are kept.
    """

    def __init__(
        self, connection: Connection, keyspace: Keyspace, stage: Stage | None, *, above_bytes: int, retention_ms: int
    ) -> None:
        self.stage = stage
        self.above_bytes = above_bytes
        self._connection = connection
        self._keyspace = keyspace
        self._retention_ms = retention_ms
        self._tidied = -_TIDY_S

    def scope(self, workflow_id: str) -> str:
        """What the items of a workflow id are kept under, whichever of its runs they are of."""
        return hashlib.sha256(f"{self._keyspace.base}:{workflow_id}".encode("utf-8", "surrogatepass")).hexdigest()

    def of_run(self, run_id: str) -> Writing:
        """Write to a run of which no more is known."""
        if self.stage is None:
            return _OFF
        return Writing(self, lambda: self._workflow_id(run_id), was_offloaded=False)

    def of_workflow(self, workflow_id: str, *, was_offloaded: bool = False) -> Writing:
        """Write to a run of a workflow id.

        Args:
            workflow_id: The id.
            was_offloaded: Something of what is written may have gone into the stage already.
        """
        if self.stage is None:
            return _OFF
        return Writing(self, lambda: workflow_id, was_offloaded=was_offloaded)

    def _workflow_id(self, run_id: str) -> str | None:
        found = self._connection.call("HGET", self._keyspace.of_run(run_id).record(run_id), "id")
        return found.decode("utf-8", "surrogateescape") if isinstance(found, bytes) else None

    def settle(self, workflow_id: str) -> None:
        """Give what is in the stage for a workflow the lifetime that it must have as things stand; safe to repeat.

        Without an end while a run of the id is open or waits to be archived, else a day more than ended runs are kept.
        A failure is logged: at worst something is kept that nobody needs.
        """
        if self.stage is None:
            return
        scope = self.scope(workflow_id)
        try:
            if not self._is_kept(workflow_id):
                self.stage.expire(scope, self._retention_ms + _DAY_MS)
                if not self._is_kept(workflow_id):  # else a run has started in between
                    return
            self.stage.keep(scope)
        except StoreError as error:
            logger.warning("offloaded values keep the lifetime they have: %s", error, extra={"scope": scope})

    def _is_kept(self, workflow_id: str) -> bool:
        """Whether the latest run of a workflow id is kept without an end."""
        keys = self._keyspace.of_workflow(workflow_id)
        run = self._connection.call("HGET", keys.workflow(workflow_id), "run")
        return run is not None and int(self._connection.call("PTTL", keys.record(run.decode()))) == -1

    def tidy(self) -> None:
        """Delete some of what has expired, at most once a minute."""
        if self.stage is not None and time.monotonic() - self._tidied >= _TIDY_S:
            self._tidied = time.monotonic()
            self.stage.tidy()

    def whole(self, item: bytes, run_id: str, what: str) -> bytes:
        """An item as it was written.

        Args:
            item: As it is stored.
            run_id: Of the run, for messages.
            what: What it is of the run, for messages.

        Raises:
            CorruptHistoryError: It is in a stage, and not as it was.
            StageError: It is in a stage that does not answer.
        """
        if not is_stand_in(item):
            return item
        claim = Claim.read(item)
        where = f"{what} of run {run_id} is offloaded ({claim.size} bytes, digest {claim.digest})"
        if self.stage is None:
            raise CorruptHistoryError(f"{where}, and no stage is configured here: set orchestration_offload")
        try:
            data = self.stage.get(claim.scope, claim.digest)
        except StageError as error:
            raise StageError(f"{where}: {error}") from error
        problem = claim.problem(data) if data is not None else "it is not there"
        if data is None or problem:
            raise CorruptHistoryError(f"{where} to {self.stage.name}, scope {claim.scope}: {problem}")
        return claim.item(data)

    def wholes(self, events: Iterable[bytes], run_id: str, *, first: int) -> Iterator[bytes]:
        """Events as they were written.

        Args:
            events: As they are stored.
            run_id: Of the run.
            first: Number of the first one.

        Raises:
            CorruptHistoryError: One is in a stage, and not as it was.
            StageError: One is in a stage that does not answer.
        """
        for number, event in enumerate(events, first):
            yield self.whole(event, run_id, f"event {number}") if is_stand_in(event) else event

    def unread(self, items: Sequence[bytes], run_id: str) -> tuple[tuple[bytes, ...], str]:
        """The inputs that a lease brings, as they were written; fewer when they are large.

        Returns:
            The inputs, and why there is none when the first one is missing or damaged.

        Raises:
            StageError: The stage does not answer.
        """
        found: list[bytes] = []
        size = 0
        for number, item in enumerate(items, 1):
            whole = item
            if is_stand_in(item):
                if found and size + Claim.read(item).size > _PAGE_BYTES:
                    break
                try:
                    whole = self.whole(item, run_id, f"unread input {number}")
                except CorruptHistoryError as error:
                    if found:
                        break  # those before it are read first
                    return (), str(error)
            size += len(whole)
            found.append(whole)
        return tuple(found), ""

    def tail(self, events: Sequence[bytes], run_id: str) -> tuple[bytes, ...]:
        """The events that a lease brings, as they were written; none when they are to be read by themselves."""
        with contextlib.suppress(CorruptHistoryError, StageError):  # whoever reads them is told
            return tuple(self.wholes(events, run_id, first=1))
        return ()

    def close(self) -> None:
        """Let go of the stage."""
        if self.stage is not None:
            self.stage.close()

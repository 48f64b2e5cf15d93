"""What Celery shows of a workflow that has not ended: a state of its own, and keys that live as long as it does.

A step only notes, in its own commit, that the state is to be written within a time. The sweep finds which are due, a
thread beside it writes them, so a run that ends before costs nothing, and one that moves fast is written at most so
often. A state never takes the
place of the outcome: see :func:`_write`.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from celery import states
from celery.app.task import Context
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend
from celery.result import GroupResult, ResultBase
from kombu.utils import json as kombu_json

from orchestration.core import payload
from orchestration.errors import StoreUnavailableError
from orchestration.store.keys import ShardKeys
from orchestration.store.results import RunRecord
from orchestration.store.store import Store
from orchestration.tasks.completion import backend_of, outer_request, store_outcome
from orchestration.tasks.kept_request import unpack_request
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.signatures import chord_ids
from orchestration.types import RunId

__all__ = ["WAITING", "StateKeeper", "state_info"]

logger = logging.getLogger(__name__)

WAITING: Final = "WAITING"
"""State of the Celery task of a workflow that has begun and not ended."""

_HOLD_MS = 30_000
_BATCH = 25
_SOON_MS = 1_000
_OPEN = ("running", "paused", "parked")


class StateKeeper:
    """A thread in each worker that looks after the Celery tasks of open runs, where the sweep says that some are due.

    The result backend may be slow, or away: it must not hold the sweep up.

    Args:
        runtime: Of this process.
        look: Looks at an activity that is noted as run and number; milliseconds until it is due again, 0 for never.
    """

    def __init__(self, runtime: Runtime, look: Callable[[str, Store, str], int] | None = None) -> None:
        self._runtime = runtime
        self._look = look
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._due: dict[tuple[str, str], ShardKeys] = {}
        self._is_due = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._loop, name="orchestration-states", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits for the state at hand."""
        self._stop.set()
        self._is_due.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def note_due(self, namespace: str, shard: ShardKeys) -> None:
        """Some runs of a shard are due."""
        self._due[namespace, shard.tag] = shard
        self._is_due.set()

    def _loop(self) -> None:
        while self._is_due.wait() and not self._stop.is_set():
            self._is_due.clear()
            try:
                while self._due:
                    (namespace, _), shard = self._due.popitem()
                    self.turn(namespace, shard)
            except StoreUnavailableError as error:
                logger.warning("states of Celery tasks put off: %s", error)
            except Exception:
                logger.exception("states of Celery tasks put off")

    def turn(self, namespace: str, shard: ShardKeys) -> None:
        """Look after the runs of a shard that are due, or some of them; then it has another turn at once."""
        store = self._runtime.store(namespace)
        held, run_ids = store.shown.take(shard, limit=_BATCH, hold_ms=_HOLD_MS)
        runs = [run_id for run_id in run_ids if "/" not in run_id]
        found = {record.run_id: record for record in store.runs.records(runs, extra=True)}
        for run_id in run_ids:
            if self._stop.is_set():
                return
            self._look_after(namespace, store, run_id, found.get(run_id), held)
        if len(run_ids) >= _BATCH:
            self._due.setdefault((namespace, shard.tag), shard)

    def _look_after(
        self, namespace: str, store: Store, run_id: RunId, record: RunRecord | None, held: str
    ) -> None:
        try:
            after_ms = 0
            if "/" in run_id:
                after_ms = self._look(namespace, store, run_id) if self._look else _HOLD_MS
            elif record is not None and record.status in _OPEN:
                after_ms = self._refresh(store, record)
            elif record is not None and "next" in record.fields:
                store.shown.put(RunId(record.fields["next"]), after_ms=_SOON_MS)
            elif record is not None and record.task_id:
                self._heal(store, record)
            store.shown.put(run_id, after_ms=after_ms, held=held)
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - the backend's own errors; it is tried again after the hold
            logger.warning("state of a Celery task not written: %s", error, extra={"run_id": run_id})

    def _refresh(self, store: Store, record: RunRecord) -> int:
        """Write the state and put off what would expire; milliseconds until that is due again, 0 for never."""
        backend = backend_of(self._runtime, record)
        facts = unpack_request(record.extra.get("request", b"\x80"))
        times = [_keep_chord(self._runtime, backend, chord) for chord in chord_ids(facts)]
        shows = self._runtime.settings.state_after_ms and record.number("length") and "quiet" not in record.fields
        if record.task_id and shows and not isinstance(backend, (DisabledBackend, RPCBackend)):
            if not _write(backend, record.task_id, state_info(record), outer_request(record)):
                self._check(store, record.run_id)
            if not _has_transactions(backend):
                times.append(getattr(backend, "expires", None) or 0)
        return int(min((time for time in times if time), default=0) * 1000 / 3)

    def _check(self, store: Store, run_id: RunId) -> None:
        """A state was written that nothing kept from coming late: see whether it did."""
        for record in store.runs.records([run_id], extra=True):
            if record.status not in _OPEN and "next" not in record.fields:
                self._heal(store, record)

    def _heal(self, store: Store, record: RunRecord) -> None:
        """See to it that the state of a run that has ended is its outcome."""
        backend = backend_of(self._runtime, record)
        if not isinstance(backend, (DisabledBackend, RPCBackend)) and backend.get_state(record.task_id) == WAITING:
            store_outcome(self._runtime, store, record)


def state_info(record: RunRecord) -> dict[str, Any]:
    """What ``AsyncResult.info`` says of an open run.

    Args:
        record: With its larger facts.

    Returns:
        ``workflow_id``, ``run_id``, ``status`` (running, paused, parked), ``step``: number of events in its history,
        and ``waits``: for each coroutine what it waits for (``for``), ``since`` when, and where in its code (``at``).
    """
    waits = []
    for _task, file, line, _function, waits_for, since_ms in payload.decode(record.extra.get("places", b"\x90")):
        since = dt.datetime.fromtimestamp(int(since_ms) / 1000, dt.UTC).isoformat(timespec="milliseconds")
        waits.append({"for": _text(waits_for), "since": since, "at": f"{_text(file)}:{line}"})
    return {
        "workflow_id": record.fields["id"], "run_id": record.run_id, "status": record.status,
        "step": record.number("length"), "waits": waits,
    }  # fmt: skip


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _write(backend: Any, task_id: str, info: dict[str, Any], request: Context) -> bool:
    """Store the state of a task that has no outcome yet.

    Celery's backends refuse to overwrite a success, not a failure. With Redis the outcome that is stored at the same
    moment wins, and the state stays until then: a run that sleeps for months needs no look in between. Elsewhere the
    state expires as all do, and it may come late: whoever writes it looks at the run again afterwards.

    Returns:
        Whether the state cannot have taken the place of an outcome.
    """
    if not _has_transactions(backend):
        if backend.get_state(task_id) in states.READY_STATES:
            return True
        backend.store_result(task_id, info, WAITING, request=request)
        return False
    key = backend.get_key_for_task(task_id)
    meta = backend._get_result_meta(result=info, state=WAITING, traceback=None, request=request)
    told = {name: value for name, value in meta.items() if value not in (None, [])}  # bytes of each sleeping run
    told["task_id"] = task_id
    is_plain = backend.serializer == "json" and not getattr(backend, "compression", None)
    write_json: Any = kombu_json.dumps
    value = write_json(told, separators=(",", ":")) if is_plain else backend.encode(told)

    def write(pipe: Any) -> None:
        stored = pipe.get(key)
        pipe.multi()
        if stored is None or backend.decode(stored)["status"] not in states.READY_STATES:
            pipe.set(key, value)
            pipe.publish(key, value)

    backend.client.transaction(write, key)
    return True


def _has_transactions(backend: Any) -> bool:
    return hasattr(backend, "client") and hasattr(backend.client, "transaction")


def _keep_chord(runtime: Runtime, backend: Any, group_id: str) -> float:
    """Put off the expiry of what a chord has collected, in a backend of keys; seconds that it lives, 0 for ever."""
    if not hasattr(backend, "get_key_for_group") or not hasattr(backend, "expire"):
        return 0
    lives = getattr(backend, "chord_expires", None) or 0
    if lives:
        for suffix in (".j", ".t", ".s", ".d"):
            backend.expire(backend.get_key_for_group(group_id, suffix), int(lives))
    expires = getattr(backend, "expires", None) or 0
    group = GroupResult.restore(group_id, backend=backend, app=runtime.app) if expires else None
    if group is not None:  # its members are read one by one when all have ended
        backend.expire(backend.get_key_for_group(group_id), int(expires))
        for task_id in _members(group):
            backend.expire(backend.get_key_for_task(task_id), int(expires))
    return min((time for time in (lives, expires) if time), default=0)


def _members(result: ResultBase) -> list[str]:
    if isinstance(result, GroupResult):
        return [task_id for part in result.results for task_id in _members(part)]
    return [str(result.id)]

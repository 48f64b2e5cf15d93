"""Advances runs: inputs through the Lua machine, one commit for what they caused, again while there is more to read."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from orchestration.core import events, payload
from orchestration.core.events import Code
from orchestration.core.machine import Machine, Mode
from orchestration.core.replay import replay
from orchestration.errors import (
    CorruptHistoryError,
    MemoryLimitError,
    NondeterminismError,
    OrchestrationError,
    SandboxError,
    StepLimitError,
    StoreError,
)
from orchestration.faults import fault
from orchestration.store.inputs import stamp
from orchestration.store.results import Delivery, Lease
from orchestration.store.store import Store
from orchestration.tasks.cache import Session
from orchestration.tasks.effects import Effects
from orchestration.tasks.outbox import Outbox
from orchestration.tasks.presence import Presence
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["Engine"]

logger = logging.getLogger(__name__)

_MOST_TRIES = 5
_ANSWERS = frozenset((Code.ACTIVITY_COMPLETED, Code.ACTIVITY_FAILED, Code.TIMER_FIRED, Code.OPERATION_DONE))


class _ParkError(Exception):
    """The run cannot go on; an operator decides."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason


class _WorkflowHost:
    """What a workflow's machine needs from outside: a place for what it prints."""

    def __init__(self, run_id: str, workflow_id: str, workflow_type: str) -> None:
        self._extra = {"run_id": run_id, "workflow_id": workflow_id, "workflow_type": workflow_type}

    def now_ms(self) -> int:
        raise OrchestrationError("a workflow has no clock but its inputs")

    def random(self, n: int) -> bytes:
        raise OrchestrationError(f"a workflow has no source of chance but its seed ({n} bytes asked for)")

    def log(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        logging.getLogger("orchestration.lua").log(number, "%s", text, extra={**self._extra, "fields": dict(fields)})


class Engine:
    """Moves the runs that this process holds.

    Args:
        runtime: Of this process.
        presence: Ends this process when a call into Lua does not come back.
    """

    def __init__(self, runtime: Runtime, presence: Presence) -> None:
        self._runtime = runtime
        self._presence = presence
        self.outbox = Outbox(runtime)

    def take_up(self, namespace: str, run_id: RunId) -> None:
        """Advance a run, if it has something to read and nobody else is at it."""
        store = self._runtime.store(namespace)
        self.follow(namespace, store.runs.take_lease(run_id, self._runtime.owner))

    def follow(self, namespace: str, delivery: Delivery) -> None:
        """Go on from an answer of the store: advance the run if the answer is a lease."""
        if delivery.lease is not None:
            self.advance(namespace, delivery.lease)

    def advance(self, namespace: str, lease: Lease) -> None:
        """Advance a run until its inbox is empty, it has ended, or somebody else has changed it."""
        store = self._runtime.store(namespace)
        facts = {"run_id": lease.run_id, "namespace": namespace}
        fault("after_lease")
        session: Session | None = None
        try:
            if lease.tries > _MOST_TRIES:
                raise _ParkError("engine", f"{lease.tries - 1} workers gave up or died at this step")
            with self._presence.in_lua():
                session = self._session(namespace, store, lease)
            following: Lease | None = lease
            while following is not None:
                following = self._step(store, session, following)
        except _ParkError as error:
            self._park(store, lease, error.kind, error.reason, session)
        except NondeterminismError as error:
            self._park(store, lease, "non-determinism", str(error), session)
        except (MemoryLimitError, StepLimitError) as error:
            self._park(store, lease, "limit", str(error), session)
        except (SandboxError, CorruptHistoryError) as error:
            self._park(store, lease, "bundle", str(error), session)
        except StoreError:
            if session is not None:
                session.machine.close()
            logger.warning("run left to others: the store did not answer", extra=facts, exc_info=True)
            raise
        except Exception as error:
            logger.exception("run parked: the engine failed", extra=facts)
            self._park(store, lease, "engine", f"{type(error).__name__}: {error}", session)

    def _park(self, store: Store, lease: Lease, kind: str, reason: str, session: Session | None) -> None:
        if session is not None:
            session.machine.close()
        # The step that failed may not have been the first under this lease: the fence has risen with each commit.
        fence = store.runs.record(lease.run_id).number("fence")
        parked = store.runs.park(lease.run_id, fence=fence, kind=kind, reason=reason[:4000])
        logger.error(
            "run parked: %s: %s",
            kind,
            reason.split("\n", 1)[0],
            extra={"run_id": lease.run_id, "kind": kind, "parked": parked},
        )

    def _session(self, namespace: str, store: Store, lease: Lease) -> Session:
        session = self._runtime.cache.take(namespace, lease.run_id, length=lease.length, fence=lease.fence)
        return session or self._replay(namespace, store, lease)

    def _replay(self, namespace: str, store: Store, lease: Lease) -> Session:
        record = store.runs.record(lease.run_id)
        digest = record.fields["bundle"]
        bundle = self._runtime.bundle(store, lease.run_id, digest)
        if bundle is None:
            raise _ParkError("bundle", f"the code bundle {digest} is not in the store")
        fields = record.fields
        host = _WorkflowHost(lease.run_id, fields["id"], fields["type"])
        machine = Machine(bundle, limits=self._runtime.settings.limits, mode=Mode.WORKFLOW, host=host)
        history = list(store.runs.history(lease.run_id, stop=lease.length)) if lease.length else []
        if len(history) != lease.length:
            raise _ParkError("history", f"the record counts {lease.length} events, the history has {len(history)}")
        replay(machine, history)
        if history:
            meta = events.decode(history[0]).meta  # type: ignore[attr-defined]
        else:
            meta = events.decode(stamp(lease.inputs[0], lease.time_ms)).meta  # type: ignore[attr-defined]
        waiting = store.runs.open_commands(lease.run_id) if history else {}
        return Session(
            namespace=namespace,
            run_id=lease.run_id,
            workflow_id=fields["id"],
            workflow_type=fields["type"],
            digest=digest,
            queue=fields.get("queue", ""),
            pid=meta.get("pid", ""),
            context=dict(meta.get("ctx") or {}),
            machine=machine,
            length=lease.length,
            fence=lease.fence,
            in_flight={int(name[:-2]) for name in waiting if name.endswith(":s")},
            cancelled={
                payload.decode(event)[1]
                for event in history
                if event[1] in (Code.CANCEL_TIMER, Code.CANCEL_ACTIVITY)
            },
        )

    def _step(self, store: Store, session: Session, lease: Lease) -> Lease | None:
        machine, runtime = session.machine, self._runtime
        effects = Effects(runtime, session, lease)
        written: list[bytes] = []
        consumed = dropped = 0
        for item in lease.inputs:
            if machine.closed:
                break
            consumed += 1
            if item[1] in _ANSWERS and payload.decode(bytes([item[0] - 1]) + item[1:])[1] in session.cancelled:
                dropped += 1
                continue
            event = stamp(item, lease.time_ms)
            with self._presence.in_lua():
                commands = machine.apply(event)
            written.append(event)
            effects.input_applied(item)
            for command in commands:
                effects.command(command)
            written.extend(commands)
        if session.length + len(written) > runtime.settings.history_limit:
            raise _ParkError("limit", f"the history would have more than {runtime.settings.history_limit} events")
        fault("after_advance")
        if not machine.closed:
            effects.ops.append(["extra", "places", _places(machine)])
        pushes = effects.pushes()
        fault("before_commit")
        answer = store.runs.commit(
            lease,
            workflow_id=session.workflow_id,
            digest=session.digest,
            commit_id=os.urandom(8).hex(),
            owner=runtime.owner,
            consumed=consumed,
            dropped=dropped,
            events=written,
            ops=effects.ops,
            pushes=pushes,
            ending=effects.ending,
        )
        fault("after_commit")
        if answer.status == "fenced":
            machine.close()
            logger.info("commit fenced: somebody else changed the run", extra={"run_id": session.run_id})
            return None
        session.length += len(written)
        session.fence = lease.fence + 1
        if not pushes.commands:
            runtime.messages.publish(*effects.sends)
        following = answer.lease
        if following is None:
            if machine.closed:
                machine.close()
            elif session.in_flight:
                runtime.cache.put(session)
            else:  # it sleeps: nothing of it stays in this process
                machine.close()
        self.outbox.perform(store, effects.outbox, sent=not pushes.commands)
        return following


def _places(machine: Machine) -> bytes:
    """Where each coroutine stands, for people: file, line, function, what it waits for, since when."""
    return payload.encode(
        [[p.task, p.file, p.line, p.function, p.waits_for, p.since_ms] for p in machine.places()[:100]]
    )

"""Advances runs: inputs through the Lua machine, one commit for what they caused, again while there is more to read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from celery.exceptions import SoftTimeLimitExceeded

from orchestration.core import events, payload
from orchestration.core.events import Code
from orchestration.core.machine import Machine, Mode
from orchestration.core.replay import replay
from orchestration.errors import (
    CorruptHistoryError,
    MemoryLimitError,
    NondeterminismError,
    SandboxError,
    StepLimitError,
    StoreError,
    StoreUnavailableError,
)
from orchestration.faults import fault
from orchestration.store.attempts import AttemptId
from orchestration.store.inputs import stamp
from orchestration.store.results import Delivery, Lease, Step
from orchestration.store.store import Store
from orchestration.tasks.cache import Session
from orchestration.tasks.chain_options import facts_of
from orchestration.tasks.endings import announce_parked
from orchestration.tasks.limits import warn_near_limits
from orchestration.tasks.local import LocalCall
from orchestration.tasks.making import ANSWERS, Hand, ParkError, StepMaking
from orchestration.tasks.moving import Moving
from orchestration.tasks.outbox import Outbox
from orchestration.tasks.presence import Presence
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.workflow_host import WorkflowHost
from orchestration.types import RunId

__all__ = ["Engine"]

logger = logging.getLogger(__name__)

_MOST_TRIES = 5
_LONG_HISTORY = 200
"""Events from which on a replay costs more than a sleeping machine in the cache, which is bounded."""



class Engine:
    """Moves the runs that this process holds.

    Args:
        runtime: Of this process.
        presence: Ends this process when a call into Lua does not come back.
    """

    def __init__(self, runtime: Runtime, presence: Presence) -> None:
        self._runtime = runtime
        self._presence = presence
        self._mine = Hand()
        self.report_local: Callable[[LocalCall], None] = lambda call: None  # noqa: ARG005 - set by who can
        self._moving = Moving(runtime)
        self.outbox = Outbox(runtime)

    def take_up(self, namespace: str, run_id: RunId) -> None:
        """Advance a run, if it has something to read and nobody else is at it."""
        store = self._runtime.store(namespace)
        known = self._runtime.cache.known(namespace, run_id)
        self.follow(namespace, store.runs.take_lease(run_id, self._runtime.holder, known=known))

    def follow(self, namespace: str, delivery: Delivery) -> None:
        """Go on from an answer of the store: advance the run if the answer is a lease."""
        if delivery.lease is not None:
            self.advance(namespace, delivery.lease)

    def advance(self, namespace: str, lease: Lease) -> None:
        """Advance a run until its inbox is empty, it has ended, or somebody else has changed it.

        Local activities that have outlived their step are waited for after that, and reported.
        """
        try:
            self._advance(namespace, lease)
        finally:
            self._mine.settle(self.report_local)

    def _advance(self, namespace: str, lease: Lease) -> None:
        store = self._runtime.store(namespace)
        facts = {"run_id": lease.run_id, "namespace": namespace}
        fault("after_lease")
        session: Session | None = None
        held: Lease = lease
        try:
            if lease.tries > _MOST_TRIES:
                raise ParkError("engine", f"{lease.tries - 1} workers gave up or died at this step")
            if lease.problem:
                raise ParkError("history", lease.problem)
            making = self._mine.take_ahead(namespace, lease)
            session = making.session if making else self._session(namespace, store, lease)
            held = lease if making else replace(lease, fence=session.fence)  # moved to new code it has another one
            while True:
                making = making or StepMaking(self._runtime, self._presence, session, held)
                with self._inside(session):
                    following = self._step(store, session, making)
                if following is None:
                    break
                held, making = following, None
                if held.problem:
                    raise ParkError("history", held.problem)
                if not self._runtime.settings.cache_runs:  # no machine outlives its step: replay is tried all the time
                    session.machine.close()
                    session = self._session(namespace, store, held)
                    held = replace(held, fence=session.fence)
        except ParkError as error:
            self._park(namespace, store, held, error.kind, error.reason, session)
        except NondeterminismError as error:
            self._park(namespace, store, held, "non-determinism", str(error), session)
        except (MemoryLimitError, StepLimitError) as error:
            self._park(namespace, store, held, "limit", str(error), session)
        except CorruptHistoryError as error:
            self._park(namespace, store, held, "history", str(error), session)
        except SandboxError as error:
            self._park(namespace, store, held, "bundle", str(error), session)
        except StoreError:
            if session is not None:
                session.machine.close()
            logger.warning("run left to others: the store did not answer", extra=facts, exc_info=True)
            raise
        except SoftTimeLimitExceeded:
            # The clock of this task, not the run's fault: the lease runs out, another takes up; `tries` bounds it.
            if session is not None:
                session.machine.close()
            logger.warning("run left to others: the task's soft time limit is over", extra=facts)
        except Exception as error:
            logger.exception("run parked: the engine failed", extra=facts)
            self._park(namespace, store, held, "engine", f"{type(error).__name__}: {error}", session)

    def _inside(self, session: Session) -> AbstractContextManager[None]:
        """While a step is made and what it asks for is sent."""
        telemetry = self._runtime.telemetry
        return nullcontext() if telemetry is None else telemetry.inside(session.observed)

    def _park(
        self, namespace: str, store: Store, lease: Lease, kind: str, reason: str, session: Session | None
    ) -> None:
        if session is not None:
            session.machine.close()
        parked = store.runs.park(lease.run_id, fence=lease.fence, kind=kind, reason=reason[:4000])
        logger.error(
            "run parked: %s: %s",
            kind,
            reason.split("\n", 1)[0],
            extra={"run_id": lease.run_id, "namespace": namespace, "kind": kind, "parked": parked},
        )
        if parked:
            announce_parked(self._runtime, namespace, lease.run_id, kind, reason)

    def finish(self, namespace: str, attempt: AttemptId, item: bytes, time_ms: int) -> bool:
        """Report a completed attempt and advance its run in one round trip, if this process has it at hand.

        Args:
            namespace: Of the run.
            attempt: The attempt that has completed.
            item: The input, encoded without its time.
            time_ms: Redis' time, at most now.

        Returns:
            False when nothing was written: the attempt has to be reported in the ordinary way.
        """
        session = self._runtime.cache.take_sole(namespace, attempt.run_id, attempt.seq)
        if session is None:
            return False
        with self._inside(session):
            return self._finish(namespace, session, attempt, item, max(time_ms, session.time_ms))

    def _finish(self, namespace: str, session: Session, attempt: AttemptId, item: bytes, time_ms: int) -> bool:
        store = self._runtime.store(namespace)
        lease = Lease(attempt.run_id, session.fence, time_ms, session.length, 1, (item,))
        making = StepMaking(self._runtime, self._presence, session, lease)
        try:
            making.run(until_local=True)
            if making.effects.locals:  # what has been done is written down before something else is begun
                self._mine.keep_ahead(making)
                return False
            step = making.step()
        except Exception as error:  # noqa: BLE001 - the ordinary way meets it again, and parks the run
            logger.info("step put off to the ordinary way: %s", error, extra={"run_id": attempt.run_id})
            session.machine.close()
            return False
        fault("before_commit")
        try:
            answer = store.runs.finish(lease, step, attempt, claimed_by=self._runtime.owner)
        except StoreUnavailableError:
            session.machine.close()
            raise
        except StoreError as error:  # refused: nothing was written
            logger.warning("step put off to the ordinary way: %s", error, extra={"run_id": attempt.run_id})
            session.machine.close()
            return False
        if answer.status == "slow":
            logger.debug("not the next step after all: %s", answer.detail, extra={"run_id": attempt.run_id})
            session.machine.close()
            return False
        fault("after_commit")
        try:
            self._count("orchestration_cache_lookups_total", namespace, "hit")
            following = self._after_commit(store, session, making, step, answer)
            if following is not None:
                self._runtime.cache.put(session)
                self.advance(namespace, following)
        except Exception:  # the step is written: what is left of it is the sweep's
            logger.exception("what follows a step is left to the sweep", extra={"run_id": attempt.run_id})
        return True

    def _session(self, namespace: str, store: Store, lease: Lease) -> Session:
        """The run's session where the store is: from the cache, caught up, or replayed from the beginning."""
        session = self._runtime.cache.take(namespace, lease.run_id)
        if session is not None:
            behind = lease.length - session.length
            if behind == 0 and (
                session.fence == lease.fence
                or (session.fence < lease.fence and store.runs.digest(lease.run_id) == session.digest)
            ):
                session.fence = lease.fence
                self._count("orchestration_cache_lookups_total", namespace, "hit")
                return session
            if behind > 0:
                tail = list(lease.tail) if len(lease.tail) == behind else list(
                    store.runs.history(lease.run_id, start=session.length, stop=lease.length)
                )  # fmt: skip
                try:
                    with self._presence.in_lua():
                        replay(session.machine, tail)
                except NondeterminismError:
                    session.machine.close()  # the whole history tells the event's number and the line
                    return self._replay(namespace, store, lease)
                session.length, session.fence = lease.length, lease.fence
                session.usage = session.machine.usage()
                for event in tail:
                    _track(session, event)
                if session.observed is not None:
                    session.observed.replayed(tail)
                self._count("orchestration_cache_lookups_total", namespace, "hit")
                return session
            session.machine.close()
        return self._replay(namespace, store, lease)

    def _replay(self, namespace: str, store: Store, lease: Lease) -> Session:
        epoch, begun = self._runtime.epoch(), time.monotonic()
        record = store.runs.record(lease.run_id)
        digest = record.fields["bundle"]
        if not digest:
            digest = self._pin(store, lease.run_id, record.fields)
            record = store.runs.record(lease.run_id)  # its type is the entry id now
        fields = record.fields
        bundle = self._runtime.bundle(store, lease.run_id, digest)
        if bundle is None:
            raise ParkError("bundle", f"the code bundle {digest} is not in the store")
        host = WorkflowHost(lease.run_id, fields["id"], fields["type"])
        history = list(store.runs.history(lease.run_id, stop=lease.length)) if lease.length else []
        if len(history) != lease.length:
            raise ParkError("history", f"the record counts {lease.length} events, the history has {len(history)}")
        fence, machine = lease.fence, None
        newer = self._moving.wanted(record)
        if newer is not None:
            moved = self._moving.move(store, record, newer, history, fence=fence, host=host)
            if moved is not None:
                (machine, fence), digest = moved, newer.digest
        if machine is None:
            machine = Machine(bundle, limits=self._runtime.settings.limits, mode=Mode.WORKFLOW, host=host)
            with self._presence.in_lua():
                replay(machine, history, lenient_until=record.lenient_until)
        started = events.decode(history[0] if history else stamp(lease.inputs[0], lease.time_ms))
        if not isinstance(started, events.Started):
            raise ParkError("history", "the first event is not the start of a run")
        waiting = store.runs.open_names(lease.run_id) if history else []
        facts = facts_of(namespace, replace(record, fields={**fields, "bundle": digest}), started.meta)
        session = Session(
            namespace=namespace,
            run_id=lease.run_id,
            workflow_id=fields["id"],
            workflow_type=fields["type"],
            digest=digest,
            queue=fields.get("queue", ""),
            pid=facts.meta.get("pid", ""),
            context=dict(facts.meta.get("ctx") or {}),
            facts=facts,
            args=started.args if facts.options.retry or facts.options.cron else b"",
            machine=machine,
            length=lease.length,
            fence=fence,
            time_ms=int(fields.get("time") or 0),
            epoch=epoch,
            in_flight={int(name[:-2]) for name in waiting if name.endswith(":s")},
            usage=machine.usage(),
            shows=bool(record.task_id) and "quiet" not in fields,
            task_id=record.task_id or lease.run_id,
        )
        for event in history:
            if event[1] in (Code.CANCEL_TIMER, Code.CANCEL_ACTIVITY):
                _track(session, event)
        telemetry = self._runtime.telemetry
        if telemetry is not None:
            seconds = time.monotonic() - begun
            session.observed = telemetry.replayed(record, namespace, history, seconds=seconds)
        return session

    def _count(self, name: str, *labels: str) -> None:
        if self._runtime.telemetry is not None:
            self._runtime.telemetry.count(name, *labels)

    def _pin(self, store: Store, run_id: RunId, fields: Mapping[str, str]) -> str:
        """Give a run its code that was started where nobody knew it; its digest."""
        registry, name = self._runtime.registry, fields["type"]
        entry = registry.workflow_type(name)
        if entry is None:
            queue = fields.get("queue") or self._runtime.app.conf.task_default_queue
            raise ParkError("bundle", f"the workers of the queue {queue!r} know no workflow {name!r}: deploy it there")
        bundle = registry.bundle(entry.id)
        return store.chains.pin_bundle(run_id, digest=bundle.digest, code=bundle.encode(), entry_id=entry.id)

    def _step(self, store: Store, session: Session, making: StepMaking) -> Lease | None:
        with making:
            making.run()
            step = making.step()
            fault("before_commit")
            answer = store.runs.commit(making.lease, step, claimed_by=self._runtime.owner)
            fault("after_commit")
            if answer.status == "fenced":
                session.machine.close()
                logger.info(
                    "commit fenced: somebody else changed the run",
                    extra={"run_id": session.run_id, "namespace": session.namespace},
                )
                self._count("orchestration_commits_fenced_total", session.namespace, session.workflow_type)
                return None
            self._mine.adopt(making)
        return self._after_commit(store, session, making, step, answer)

    def _after_commit(
        self, store: Store, session: Session, making: StepMaking, step: Step, answer: Delivery
    ) -> Lease | None:
        """Send what could not be part of the commit, put the session away; the next lease if there is more to read."""
        lease, effects = making.lease, making.effects
        if session.observed is not None:
            session.observed.committed(
                step.events, number=lease.fence, begun_ms=making.begun_ms, seconds=making.seconds,
                consumed=step.consumed, dropped=step.dropped, ending=step.ending,
            )  # fmt: skip
        announcer = self._runtime.announcer
        if announcer.wants_steps:
            announcer.stepped(
                session.run_facts, first=not session.length, ended=bool(step.ending), rests=answer.lease is None,
            )
        if step.following:
            announcer.continued(session.run_facts, step.ending)
        session.length += len(step.events)
        session.fence = lease.fence + 1
        session.time_ms = lease.time_ms
        if not session.machine.closed:
            warn_near_limits(self._runtime.settings, session)
        sent, entries = False, effects.outbox
        if not step.pushes.commands:
            sent = self._runtime.messages.publish(*effects.sends)
            if not sent:  # attempts stay in the outbox, for the sweep
                entries = [(name, entry) for name, entry in entries if not name.startswith("a/")]
        if answer.lease is None:
            if session.machine.closed or (not session.in_flight and session.length < _LONG_HISTORY):
                session.machine.close()  # ended, or asleep: nothing of it stays in this process
            else:
                self._runtime.cache.put(session)
        if entries:
            self.outbox.perform(store, entries, sent=sent, is_first=True)
        return answer.lease


def _track(session: Session, event: bytes) -> None:
    """Take over from a replayed event what a session knows beside its machine."""
    code, *rest = payload.decode(event)
    if code == Code.SCHEDULE_ACTIVITY:
        session.in_flight.add(rest[0])
    elif code in (Code.CANCEL_TIMER, Code.CANCEL_ACTIVITY):
        if rest[1:] == [True]:
            return  # its answer still counts
        session.cancelled.add(rest[0])
        session.in_flight.discard(rest[0])
    elif code in ANSWERS:
        session.in_flight.discard(rest[1])

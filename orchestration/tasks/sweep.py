"""The sweep: one worker at a time looks after what nobody moves. Everything it does may be done twice.

Due timers, deadlines and schedules, near timers to be handed to the broker, runs with unread inputs and no live holder,
outbox entries of holders that died, attempts claimed by dead processes, attempts whose message seems lost, and nodes of
processes that have gone without a word.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from orchestration.errors import CorruptHistoryError, StoreError, StoreUnavailableError
from orchestration.faults import fault
from orchestration.host.burial import Burial
from orchestration.store.attempts import AttemptId, AttemptState
from orchestration.store.keys import ShardKeys
from orchestration.store.offload.stages import StageError
from orchestration.store.results import RunRecord, Sweep
from orchestration.store.store import Store
from orchestration.tasks.aside import Aside, AtOnce
from orchestration.tasks.attempts import Attempts
from orchestration.tasks.deadlines import time_out
from orchestration.tasks.dispatch import dispatch_attempt, read_open
from orchestration.tasks.effects import Activity, read_activity
from orchestration.tasks.engine import Engine
from orchestration.tasks.moments import growing_pause_s
from orchestration.tasks.owner import is_dead_here
from orchestration.tasks.revoking import end_unbegun
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.schedules import ScheduleFirer
from orchestration.tasks.states import StateKeeper
from orchestration.tasks.stores import StoreTidier
from orchestration.tasks.templates import about_run
from orchestration.tasks.unclaimed import Unclaimed
from orchestration.types import RunId

__all__ = ["Sweeper"]

logger = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 60.0
_MOST_REMEMBERED = 10_000

_TIMEOUTS = {
    "start": ("schedule_to_start", "scheduled", True),
    "whole": ("schedule_to_close", "", True),
    "close": ("start_to_close", "claimed,waiting,external,scheduled", False),
    "beat": ("heartbeat", "claimed,external", False),
}
"""By the timer's last word: type of the timeout, states in which it counts, whether it is final."""


class Sweeper:
    """A thread in each worker; one of them has the turn.

    Args:
        runtime: Of this process.
        engine: Performs outbox entries.
        attempts: Settles attempts.
        unclaimed: Looks after attempts that nobody claims.
        states: Is told when the Celery task of an open run is to be looked after; None: nobody is.
        aside: Does what may take its time; None: that is done at once.
    """

    def __init__(
        self, runtime: Runtime, engine: Engine, attempts: Attempts, unclaimed: Unclaimed,
        states: StateKeeper | None = None, aside: Aside | None = None,
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._aside = aside or AtOnce(engine.outbox)
        self._attempts = attempts
        self._unclaimed = unclaimed
        self._states = states
        self._schedules = ScheduleFirer(runtime)
        self._stores = StoreTidier(runtime)
        self._burial: Burial | None = None
        self._burial_due = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._heard = self._listening_since = time.monotonic()
        self._woken: dict[RunId, tuple[float, int, int]] = {}
        self._skip: dict[str, int] = {}
        self._skip_due: dict[str, int] = {}

    def start(self) -> None:
        """Begin to take turns."""
        self._thread = threading.Thread(target=self._loop, name="orchestration-sweep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits for the step at hand."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _loop(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            pause = self._runtime.settings.sweep_interval_ms / 1000
            try:
                pause = min(pause, self.turn())
            except StoreUnavailableError as error:
                logger.warning("sweep put off: %s", error)
            except Exception:
                logger.exception("sweep failed; it goes on")

    def turn(self) -> float:
        """Sweep every shard once, if it is this worker's turn.

        Returns:
            Seconds until there is something to do again.
        """
        settings, runtime = self._runtime.settings, self._runtime
        longest = settings.sweep_interval_ms / 1000
        soonest, begun = longest, time.monotonic()
        self._unclaimed.begin_turn()
        for namespace in runtime.namespaces:
            store = runtime.store(namespace)
            mine = store.workers.take_turn(runtime.owner, turn_ms=3 * settings.sweep_interval_ms)
            self._listened()
            if not mine:
                continue
            for shard in store.timers.shards:
                found = store.timers.sweep(
                    shard, limit=settings.sweep_batch, hold_ms=max(settings.resume_grace_ms, 1000),
                    horizon_ms=settings.timer_horizon_ms, eta_max=store.options.eta_max, overdue_ms=250,
                    unclaimed_ms=settings.outbox_grace_ms, skip=self._skip.get(shard.tag, 0),
                    skip_due=self._skip_due.get(shard.tag, 0),
                )  # fmt: skip
                # Attempts that nobody can run must not hide the ones behind them: the look goes round.
                full = len(found.unclaimed) >= settings.sweep_batch
                self._skip[shard.tag] = self._skip.get(shard.tag, 0) + settings.sweep_batch if full else 0
                is_full = len(found.fire) >= settings.sweep_batch
                given = sum(not member.endswith("/timer") for member in found.fire)
                self._skip_due[shard.tag] = self._skip_due.get(shard.tag, 0) + given if is_full else 0
                self._guarded("shard", shard.tag, self._handle, namespace, store, shard, found)
                if found.next_due_ms:
                    soonest = min(soonest, max(found.next_due_ms - found.time_ms, 5) / 1000)
                if is_full or len(found.runs) >= settings.sweep_batch:
                    soonest = 0.0
                if self._states is not None and 0 < found.shown_ms <= found.time_ms:
                    self._states.note_due(namespace, shard)
                if found.schedule_ms:
                    wait_s = (found.schedule_ms - found.time_ms) / 1000
                    soonest = min(soonest, wait_s if wait_s > 0 else self._schedules.fire(namespace, store, shard))
            self._bury(namespace, store)
            if namespace == settings.namespace:
                self._guarded("nodes", namespace, self._bury_nodes, store)
            self._guarded("offloaded values", namespace, store.claims.tidy)
            self._guarded("key-value stores", namespace, self._stores.tidy, namespace, store)
            if runtime.telemetry is not None:
                runtime.telemetry.time("orchestration_sweep_duration_seconds", time.monotonic() - begun)
        return soonest

    def _handle(self, namespace: str, store: Store, shard: ShardKeys, found: Sweep) -> None:
        if self._runtime.telemetry is not None:
            self._runtime.telemetry.swept(namespace, found)
        wake = set(found.runs)
        for member in found.fire:
            fire = partial(self._guarded, "deadline", member, self._fire, namespace, store, member)
            if member.endswith("/start"):  # it may be that its result is looked for first
                self._aside.look(member, fire)
            else:
                fire()
        self._wake(namespace, store, sorted(wake))
        if found.hand:
            self._guarded("timers", "near", self._hand, namespace, store, found)
        if found.outbox:
            self._aside.perform(store, found.outbox)
        if found.unclaimed:
            look = partial(self._unclaimed.look, namespace, store, found.unclaimed, found.time_ms)
            self._aside.look(f"unclaimed/{namespace}/{shard.tag}", partial(look, guarded=self._guarded))
        if found.leftovers:
            forget = partial(self._guarded, "results", "reported", self._unclaimed.forget, found.leftovers)
            self._aside.look(f"results/{found.leftovers[0]}", forget)

    def _guarded(self, what: str, which: str, act: Callable[..., object], *args: Any) -> None:
        """Do one thing of a sweep; what fails is left to the next one and keeps nothing else from being done."""
        try:
            act(*args)
        except StoreUnavailableError:
            raise
        except (CorruptHistoryError, StageError) as error:
            logger.error("%s left to the next sweep: %s", what, error, extra={"member": which})
        except Exception:
            logger.exception("%s left to the next sweep", what, extra={"member": which})

    def _wake(self, namespace: str, store: Store, run_ids: list[RunId]) -> None:
        now = time.monotonic()
        if len(self._woken) > _MOST_REMEMBERED:
            self._woken.clear()
        for record in store.runs.records(run_ids):
            self._guarded("wake-up", record.run_id, self._wake_run, namespace, record, now)

    def _wake_run(self, namespace: str, record: RunRecord, now: float) -> None:
        if not self._may_wake(record, now):
            return
        fields = record.fields
        send = self._runtime.messages.resume(
            namespace, record.run_id, queue=fields.get("queue", ""), about=about_run(fields["id"], fields["type"])
        )
        if not self._runtime.messages.publish(send):
            self._woken.pop(record.run_id, None)  # the broker is away: that is no reason to wait longer than it does

    def _may_wake(self, record: RunRecord, now: float) -> bool:
        """Where workers are busy, wake-ups wait in a queue: more of them would not help. The pause doubles."""
        fence = record.number("fence")
        last, count, at_fence = self._woken.get(record.run_id, (0.0, 0, -1))
        if fence != at_fence:
            count = 0  # the run has moved since
        elif now - last < growing_pause_s(1.5, count, longest_s=_LONGEST_PAUSE_S):
            return False
        self._woken[record.run_id] = (now, count + 1, fence)
        return True

    def _hand(self, namespace: str, store: Store, found: Sweep) -> None:
        """Give near timers to the broker: the wake-up is an ETA task."""
        run_ids = sorted({RunId(member.split("/")[0]) for member, _ in found.hand})
        queues = {r.run_id: r.fields.get("queue", "") for r in store.runs.records(run_ids)}
        sends = []
        for member, due in found.hand:
            run_id, seq, _ = member.split("/")
            queue = queues.get(RunId(run_id))
            if queue is None:
                store.timers.forget(member)
                continue
            sends.append(
                self._runtime.messages.resume(
                    namespace, run_id, queue=queue, seq=int(seq), delay_ms=max(due - found.time_ms, 1)
                )
            )
        self._runtime.messages.publish(*sends)

    def _fire(self, namespace: str, store: Store, member: str) -> None:
        run, *middle, kind = member.split("/")
        run_id = RunId(run)
        if kind in ("run", "exec"):
            time_out(self._runtime, namespace, store, run_id, member, outbox=self._aside)
            return
        if kind == "expire":
            end_unbegun(self._runtime, namespace, run_id, reason="expired", timer=member, outbox=self._aside)
            return
        if kind == "delay":
            self._begin(namespace, store, run_id)
            return
        seq = int(middle[0])
        fault("before_fire")
        if kind == "timer":
            records = store.runs.records([run_id])
            queue = records[0].fields.get("queue", "") if records else ""
            send = self._runtime.messages.resume(namespace, run, queue=queue)
            answer = store.timers.fire(run_id, seq, pushes=self._runtime.messages.pushes(send))
            fault("after_fire")
            if answer.status == "wake":
                self._runtime.messages.publish(send)
            return
        found = read_open(self._runtime, store, run_id, seq)
        records = store.runs.records([run_id])
        activity = read_activity(found[0]) if found else None
        if found is None or activity is None or not records:
            store.timers.forget(member)
            return
        state, fields = found[1], records[0].fields
        attempt = AttemptId(run_id, seq, state.attempt, state.token)
        if kind == "retry":
            workflow = (fields["id"], fields["type"], fields.get("queue", ""))
            dispatch_attempt(
                self._runtime, namespace, store, attempt, activity_blob=found[0], state="backoff", workflow=workflow
            )
            return
        if kind == "start" and state.state == "scheduled":
            begun = self._unclaimed.has_begun(namespace, store, attempt, activity)
            if begun is not False:
                return  # or not known yet: the deadline is found again
        word, states, final = _TIMEOUTS[kind]
        failure: dict[str, Any] = {
            "message": f"activity {activity.target} timed out ({word})",
            "kind": "Timeout",
            "details": {"timeout_type": word},
        }
        if kind == "close" and state.state == "scheduled":
            failure["message"] += ": a worker without the extension has taken it, and no outcome of it has been seen"
        self._attempts.decide(
            namespace, attempt, fields.get("queue", ""), activity, state, failure, claimed_by=state.owner or "-",
            final=final, states=states, timer=member,
        )  # fmt: skip

    def _begin(self, namespace: str, store: Store, run_id: RunId) -> None:
        """The delay of a run is over."""
        records = store.runs.records([run_id])
        queue = records[0].fields.get("queue", "") if records else ""
        send = self._runtime.messages.resume(namespace, run_id, queue=queue)
        if store.chains.begin(run_id, pushes=self._runtime.messages.pushes(send)).status == "wake":
            self._runtime.messages.publish(send)

    def _bury(self, namespace: str, store: Store) -> None:
        """Take over from processes that are gone."""
        silence_ms = self._runtime.settings.dead_after_ms
        # While Redis was away nobody could be heard of. Silence counts from when it has been there all the time.
        listening = (time.monotonic() - self._listening_since) * 1000 > silence_ms
        for owner, age in store.workers.ages().items():
            dead = is_dead_here(owner)
            if not (dead or (listening and age > silence_ms)):
                continue
            for run_id, seq in store.workers.claims(owner):
                self._lost(namespace, store, owner, run_id, seq)
            store.workers.leave(owner, silent_ms=0 if dead else silence_ms)

    def _bury_nodes(self, store: Store) -> None:
        """Nodes look after each other; what the last of them leaves behind is found here."""
        settings, now = self._runtime.settings, time.monotonic()
        if now < self._burial_due:
            return
        self._burial_due = now + settings.node_dead_after_ms / 2000
        if self._burial is None:
            silent_ms = settings.node_dead_after_ms
            self._burial = Burial(store.actors, self._runtime.registry, silent_ms=silent_ms)
        self._burial.sweep(has_listened=(now - self._listening_since) * 1000 > settings.node_dead_after_ms)

    def _listened(self) -> None:
        """Redis has answered: note since when it has done so without a gap."""
        settings, now = self._runtime.settings, time.monotonic()
        if now - self._heard > (settings.sweep_interval_ms + settings.dead_after_ms / 2) / 1000:
            self._listening_since = now
        self._heard = now

    def _lost(self, namespace: str, store: Store, owner: str, run_id: RunId, seq: int) -> None:
        found = read_open(self._runtime, store, run_id, seq)
        records = store.runs.records([run_id])
        activity = read_activity(found[0]) if found else None
        if found is None or activity is None or not records or found[1].owner != owner:
            return
        state = found[1]
        failure = {
            "message": f"the worker that ran attempt {state.attempt} of {activity.target} died",
            "kind": "Unavailable",
            "details": {"worker_lost": True},
        }
        try:
            self._attempts.decide(
                namespace, AttemptId(run_id, seq, state.attempt, state.token), records[0].fields.get("queue", ""),
                activity, state, failure, claimed_by=owner, states="claimed",
            )  # fmt: skip
            self._tell_lost(namespace, run_id, seq, state, activity)
        except StoreError:
            logger.exception("lost attempt left to the next sweep", extra={"run_id": run_id, "seq": seq})
            raise

    def _found(self, namespace: str, kind: str) -> None:
        if self._runtime.telemetry is not None:
            self._runtime.telemetry.count("orchestration_sweep_findings_total", namespace, kind)

    def _tell_lost(self, namespace: str, run_id: RunId, seq: int, state: AttemptState, activity: Activity) -> None:
        telemetry = self._runtime.telemetry
        if telemetry is not None:
            self._found(namespace, "lost")
            telemetry.lost(
                run_id, activity.trace, namespace=namespace, target=activity.target, seq=seq, attempt=state.attempt,
                retries=state.retries, since_ms=state.since_ms, now_ms=self._runtime.redis_now_ms(),
            )  # fmt: skip

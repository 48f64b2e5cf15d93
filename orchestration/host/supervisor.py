"""Keeps the services of this node's hosts running: takes their leases, starts, restarts and stops them.

One thread does it all. It sleeps until a process of it ends, a heartbeat comes, or something is due.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from orchestration.core.supervision import Do, State
from orchestration.errors import StoreError
from orchestration.host.boot import Boot
from orchestration.host.ward import Ward, digest_of, now_ms
from orchestration.registry.kinds.processes import ProcessService, Scope
from orchestration.registry.services import ServicePlan
from orchestration.store.actors import Roll
from orchestration.store.services import ServiceRecord, TakenService, Wish, Wishes

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["Supervisor"]

logger = logging.getLogger(__name__)

_LOOK_MS: Final = 5_000
"""How often free leases are looked for, should nothing have told of them."""
_LEAVING: Final = "its worker stops; another may take it up"
_PATIENCE_MS: Final = 15_000
"""How long a stop may take beyond the stop timeouts of the services."""


class Supervisor:
    """The services of one node.

    Args:
        node: The node; the hosts of the services are those that it serves.
        refuse: Told, once and in the supervisor's thread, that a service which the boot needs can not be started;
            None: this is no boot.
    """

    def __init__(self, node: Node, refuse: Callable[[str], None] | None = None) -> None:
        self._node = node
        self._refuse = refuse
        self._boot: Boot | None = None
        self._boot_due_ms: int | None = None
        self._store = node.runtime.store(node.runtime.settings.namespace).services
        self._plan = ServicePlan(node.runtime.registry)
        self._wards: dict[str, Ward] = {}
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._changes: int | None = None
        self._look_ms = 0
        self._nodes: frozenset[str] = frozenset()
        self._close_ms: int | None = None
        self._is_dirty = False

    def start(self) -> None:
        """Look after the services of this node's hosts from now on."""
        if not self._services():
            return
        membership = self._node.membership
        membership.on_roll.append(self._on_roll)
        membership.on_lost.append(self._on_lost)
        self._todo.put(self._look)
        self._thread = threading.Thread(target=self._run, name="orchestration-services", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the services that run here, those that others require last, and let other nodes take them over.

        Returns when that is done, at the latest some seconds after the sum of their stop timeouts.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._todo.put(self._close)
        thread.join()
        membership = self._node.membership
        membership.on_roll.remove(self._on_roll)
        membership.on_lost.remove(self._on_lost)

    # The thread ----------------------------------------------------------------------

    def _run(self) -> None:
        while self.turn():
            pass

    def turn(self) -> bool:
        """Wait for the next thing to do, and do it.

        Returns:
            False when there will be nothing more.
        """
        try:
            act = self._todo.get(timeout=self._patience_s())
        except queue.Empty:
            act = _nothing
        self._boot_due_ms = None
        try:
            act()
            for ward in list(self._wards.values()):
                ward.tick()
            self._look_at_boot()
            self._settle()
            self._is_dirty = False
        except StoreError as error:
            self._is_dirty, self._look_ms = True, 0
            logger.warning("services wait for the store: %s", error)
        except Exception:
            self._is_dirty, self._look_ms = True, 0
            logger.exception("services could not be looked after")
        if self._close_ms is None:
            return True
        if self._wards and now_ms() > self._close_ms:
            logger.error("services did not end in time: %s", ", ".join(self._wards))
            return False
        return bool(self._wards)

    def _patience_s(self) -> float | None:
        times = [ward.service.due_ms for ward in self._wards.values() if ward.service.due_ms is not None]
        if self._close_ms is not None:
            times.append(self._close_ms + 1)
        elif self._boot_due_ms is not None:
            times.append(self._boot_due_ms)
        if self._is_dirty:
            times.append(now_ms() + 1_000)
        return max(0.0, (min(times) - now_ms()) / 1000) if times else None

    def _on_roll(self, roll: Roll) -> None:
        self._todo.put(lambda: self._hear(roll.living))

    def _on_lost(self) -> None:
        self._todo.put(self._begin_anew)

    def _look_at_boot(self) -> None:
        if self._boot is None or self._refuse is None or self._close_ms is not None:
            return
        if not self._node.membership.may_act():  # it stood still, and may begin anew: the next heartbeat knows
            return
        failed = self._boot.look(self._wards)
        self._boot_due_ms = self._boot.due_ms
        if failed is not None:
            service, why = failed
            if self._wards[service].service.is_at_rest:
                self._wards[service].is_leaving = True  # it is not given up for all: the next boot tries again
            self._refuse(f"service {service} is required, and {why}")

    # Taking ----------------------------------------------------------------------

    def _services(self) -> dict[str, ProcessService]:
        hosts = self._node.membership.hosts
        return {id_: entry for id_, entry in self._plan.services.items() if entry.host in hosts}

    def _hear(self, living: frozenset[str]) -> None:
        if self._nodes - living:
            self._look_ms = 0
        self._nodes = living
        self._look()

    def _begin_anew(self) -> None:
        """This node was taken for dead, its processes are gone, and others have its services now, or will."""
        self._wards.clear()
        self._look_ms = 0
        self._look()

    def _look(self) -> None:
        """Do what operators want, take what is free, start what has waited for others."""
        if self._close_ms is not None:
            return
        wishes = self._store.wishes()
        for id_, ward in self._wards.items():
            self._obey(ward, wishes.of.get(id_, Wish()))
        if wishes.changes != self._changes or now_ms() >= self._look_ms:
            self._forget_lost()
            self._take(wishes)
            if self._boot is None:
                needed = self._plan.for_boot() if self._refuse is not None else set()
                self._boot = Boot({id_: ward for id_, ward in self._wards.items() if id_ in needed})
            self._changes, self._look_ms = wishes.changes, now_ms() + _LOOK_MS

    def _take(self, wishes: Wishes) -> None:
        wanted = self._plan.wanted({id_: wish.want != "stop" for id_, wish in wishes.of.items() if wish.want})
        for id_, entry in self._services().items():
            if id_ not in wanted or id_ in self._wards:
                continue
            found = self._store.take(
                self._node.id, id_, digest=digest_of(entry, self._node.runtime.registry),
                is_own=entry.scope is Scope.WORKER,
            )  # fmt: skip
            if found.record is not None:
                self._adopt(entry, found, found.record)

    def _adopt(self, entry: ProcessService, found: TakenService, record: ServiceRecord) -> None:
        ward = self._wards[entry.id] = Ward(self._node, entry, record, self._todo.put)
        waits_for = self._missing(entry.id)
        has_ended = record.was in (State.EXITED.value, State.FAILED.value) and not record.due_ms
        if found.is_asked or (has_ended and not found.former):
            ward.move(ward.service.start(now_ms(), waits_for=waits_for))
            return
        left_ms = record.due_ms - found.now_ms if record.due_ms else None
        reason = f"starts here: node {found.former}, which ran it, is gone" if found.former else ""
        ward.move(ward.service.take_over(now_ms(), left_ms=left_ms, waits_for=waits_for, reason=reason))

    def _forget_lost(self) -> None:
        """Instances that belonged to nodes which are gone are nobody's any more."""
        own = [instance for instance in self._store.instances() if "|" in instance]
        for instance in own:
            if instance.rpartition("|")[2] not in self._nodes | {self._node.id}:
                self._store.forget(instance)

    # Operators ----------------------------------------------------------------------

    def _obey(self, ward: Ward, wish: Wish) -> None:
        if wish.number <= ward.seen:
            return
        ward.seen = wish.number
        if wish.want == "stop":
            ward.move(ward.service.stop(now_ms(), "stopped by an operator"))
        elif wish.want == "restart":
            reason = "restarted by an operator"
            ward.move(ward.service.restart(now_ms(), reason, waits_for=self._missing(ward.entry.id)))
        elif not ward.service.is_alive or ward.service.state is State.STOPPING:
            ward.move(ward.service.start(now_ms(), waits_for=self._missing(ward.entry.id)))

    # Dependencies ----------------------------------------------------------------------

    def _start_ready(self) -> None:
        for id_, ward in self._wards.items():
            if ward.service.waits_for:
                waits_for = self._missing(id_)
                ready = ward.service.ready(now_ms())
                ward.move((ward.service.waits(waits_for), Do.NOTHING) if waits_for else ready)

    def _missing(self, id_: str) -> str:
        """What a service requires and does not run, with its state; empty: all runs."""
        missing = []
        for need in self._plan.needs(id_):
            ward = self._wards.get(need)
            if ward is None:
                state, reason = self._elsewhere(need)
            else:
                state, reason = ward.service.state.value, ward.service.reason
            if state != State.RUNNING.value:
                missing.append(f"{need} ({state}: {reason[:200]})" if reason else f"{need} ({state})")
        return ", ".join(missing)

    def _elsewhere(self, need: str) -> tuple[str, str]:
        names = [need]
        if self._plan.services[need].scope is Scope.WORKER:
            names = [name for name in self._store.instances() if name.startswith(f"{need}|")]
        records = list(self._store.read(names).values())
        for record in records:
            if record.is_held and record.state == State.RUNNING.value:
                return record.state, record.reason
        for record in records:
            if not record.is_held and record.state in (State.RUNNING.value, State.STOPPING.value):
                return State.UNKNOWN.value, "its worker is gone"
            return record.state, record.reason
        return State.UNKNOWN.value, "no worker has taken it up"

    # Telling, and giving up ----------------------------------------------------------------------

    def _settle(self) -> None:
        """Tell the store what has changed, give up what has come to rest, and go on with what waited for that."""
        while True:
            if self._close_ms is None:
                self._start_ready()
            else:
                self._stop_next()
            if not self._tell():
                return

    def _tell(self) -> bool:
        """Whether a service has come up or has been given up."""
        is_news = False
        for id_, ward in list(self._wards.items()):
            service = ward.service
            if service.is_at_rest or (self._close_ms is not None and not service.is_alive):
                self._release(ward)
                is_news = True
                continue
            now = (service, ward.pid, ward.seen)
            if ward.told == now:
                continue
            if self._store.note(
                ward.holder, ward.record, age_ms=ward.age_ms, due_in_ms=ward.due_in_ms, **ward.fields()
            ):  # fmt: skip
                ward.told = now
                is_news = is_news or service.state is State.RUNNING
            else:
                self._lose(id_, ward)
        return is_news

    def _release(self, ward: Ward) -> None:
        service = ward.service
        has_ended = service.state is State.EXITED or (service.state is State.FAILED and service.is_at_rest)
        over = digest_of(ward.entry, self._node.runtime.registry) if has_ended and not ward.is_leaving else ""
        self._store.release(
            ward.holder, ward.record, over=over, age_ms=ward.age_ms, due_in_ms=ward.due_in_ms, **ward.fields()
        )
        del self._wards[ward.entry.id]

    def _lose(self, id_: str, ward: Ward) -> None:
        """Another has its lease, because this node was taken for dead."""
        logger.warning("service %s is looked after by another node now", id_, extra={"service": id_})
        if ward.service.is_alive:
            ward.terminate()
        self._wards.pop(id_, None)

    def _close(self) -> None:
        patience = sum(ward.service.policy.stop_timeout_ms for ward in self._wards.values())
        self._close_ms = now_ms() + patience + _PATIENCE_MS
        for ward in self._wards.values():
            if ward.service.waits_for:
                ward.move(ward.service.stop(now_ms(), _LEAVING))

    def _stop_next(self) -> None:
        """Ask those to end that nothing requires which still runs here."""
        required = {need for id_ in self._wards for need in self._plan.needs(id_)}
        for id_, ward in self._wards.items():
            if id_ not in required and ward.service.is_alive and not ward.is_leaving:
                ward.is_leaving = True
                ward.move(ward.service.stop(now_ms(), _LEAVING))


def _nothing() -> None:
    pass

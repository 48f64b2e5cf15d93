"""The module ``events``: what happens anywhere in the deployment, told to whoever listens at that moment.

Events go through Redis' publish and subscribe: a listener gets an event once or, if its connection to Redis is lost at
that moment, not at all; those of one sender in the order in which they were sent. Each OS process that has listeners
holds one subscription.
"""

from __future__ import annotations

import logging
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Final

from orchestration.core import payload
from orchestration.core.lua.host import HostError
from orchestration.core.policies import fits
from orchestration.errors import DecodeError, StoreError
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import require
from orchestration.modules.verbs import verb
from orchestration.store.connection import Subscription
from orchestration.tasks.runtime import Runtime

__all__: list[str] = []

logger = logging.getLogger(__name__)

_KEPT: Final = "events"
_LOOK_EVERY_S: Final = 5.0
_AGAIN_AFTER_S: Final = 1.0
_MOST_SUBSCRIPTIONS: Final = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class _Listener:
    caller: Caller
    topic: str
    system: str
    kind: str

    def hear(self, event: dict[str, Any]) -> None:
        if fits(self.system, event["system"]) and fits(self.kind, event["kind"]):
            self.caller.deliver(self.topic, event)


class _Switchboard:
    """The one subscription of a process, open while somebody listens."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = weakref.ref(runtime)
        self._lock = threading.Lock()
        self._listeners: frozenset[_Listener] = frozenset()
        self._subscription: Subscription | None = None

    def add(self, runtime: Runtime, listener: _Listener) -> None:
        """Tell it what is sent from now on.

        Raises:
            StoreError: Redis cannot be reached; nobody was added.
        """
        with self._lock:
            if self._subscription is None:
                self._subscription = _open(runtime)
                threading.Thread(
                    target=self._run, args=(self._subscription,), name="orchestration events", daemon=True
                ).start()
            self._listeners |= {listener}

    def discard(self, listener: _Listener) -> None:
        """Tell it nothing more."""
        with self._lock:
            self._listeners -= {listener}

    def _run(self, subscription: Subscription) -> None:
        while True:
            try:
                message = subscription.receive(_LOOK_EVERY_S)
            except StoreError as error:
                logger.warning("events are not heard for a moment: %s", error)
                found = self._again(subscription)
                if found is None:
                    return
                subscription = found
                continue
            if message is not None:
                self._tell(message)
            elif self._is_over(subscription):
                return

    def _is_over(self, subscription: Subscription) -> bool:
        with self._lock:
            if self._listeners and self._runtime() is not None:
                return False
            self._subscription = None
        subscription.close()
        return True

    def _again(self, subscription: Subscription) -> Subscription | None:
        """Another subscription in the place of one that was lost; None when nobody listens any more."""
        subscription.close()
        while True:
            with self._lock:
                runtime = self._runtime()
                if runtime is None or not self._listeners:
                    self._subscription = None
                    return None
                try:
                    self._subscription = _open(runtime)
                    return self._subscription
                except StoreError as error:
                    logger.warning("events are not heard: %s", error)
            threading.Event().wait(_AGAIN_AFTER_S)

    def _tell(self, message: bytes) -> None:
        try:
            event = payload.decode(message)
            _check(system=event["system"], kind=event["kind"])
        except (DecodeError, HostError, KeyError, TypeError) as error:
            logger.warning("an event that cannot be read was dropped: %s", error)
            return
        for listener in self._listeners:
            listener.hear(event)


_switchboards: weakref.WeakKeyDictionary[Runtime, _Switchboard] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def _open(runtime: Runtime) -> Subscription:
    return runtime.store(runtime.settings.namespace).effects.listen()


def _switchboard(runtime: Runtime) -> _Switchboard:
    with _lock:
        found = _switchboards.get(runtime)
        if found is None:
            found = _switchboards[runtime] = _Switchboard(runtime)
        return found


def _check(**parts: Any) -> None:
    for name, text in parts.items():
        if not isinstance(text, str):
            raise HostError("Invalid", f"{name} must be text in UTF-8")


@verb("events.subscribe")
def subscribe(caller: Caller, topic: str, system: str, kind: str | None) -> bool:
    """Put events of matching systems into the caller's mailbox, until it unsubscribes or ends."""
    _check(system=system, kind="" if kind is None else kind)
    require(caller, "events.subscribe", system)
    mine: dict[str, _Listener] | None = caller.kept.get(_KEPT)
    if mine is None:
        mine = caller.kept[_KEPT] = {}
        caller.at_end.append(lambda: _forget(caller))
    if len(mine) >= _MOST_SUBSCRIPTIONS:
        raise HostError("RateLimited", f"more than {_MOST_SUBSCRIPTIONS} subscriptions at once: close some")
    listener = _Listener(caller, topic, system, "*" if kind is None else kind)
    board = _switchboard(caller.runtime)
    try:
        board.add(caller.runtime, listener)
    except StoreError as error:
        raise HostError("Unavailable", str(error), retryable=True) from error
    mine[topic] = listener
    if caller.is_over or caller.kept.get(_KEPT) is not mine:  # it ended meanwhile
        board.discard(listener)
    return True


@verb("events.unsubscribe")
def unsubscribe(caller: Caller, topic: str) -> bool:
    """End one subscription."""
    listener = caller.kept.get(_KEPT, {}).pop(topic, None)
    if listener is not None:
        _switchboard(caller.runtime).discard(listener)
    return True


def _forget(caller: Caller) -> None:
    listeners: dict[str, _Listener] = caller.kept.pop(_KEPT, {})
    for listener in listeners.values():
        _switchboard(caller.runtime).discard(listener)


@verb("events.send")
def send(caller: Caller, system: str, kind: str, path: str, data: Any) -> bool:
    """Tell an event to everybody who listens."""
    _check(system=system, kind=kind, path=path)
    require(caller, "events.send", system)
    event = {"system": system, "kind": kind, "path": path}
    if data is not None:
        event["data"] = data
    runtime = caller.runtime
    caller.check()
    try:
        told = runtime.store(runtime.settings.namespace).effects.tell_event(
            caller.node, payload.encode(event, limit=runtime.settings.value_limit_bytes)
        )
    except StoreError as error:
        raise HostError("Unavailable", str(error), retryable=True) from error
    if not told:
        raise HostError("Internal", "this process has been taken for dead: it sends nothing any more")
    return True

"""A run as it changes: told by a channel, read when there is something new."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from orchestration.client.description import Description, describe_record
from orchestration.store.connection import Subscription
from orchestration.store.store import Store
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["follow_run"]

_FOLLOW_S: Final = 60.0
_LOOK_AGAIN_S: Final = 15.0
_BURST_S: Final = 0.1
_PAUSE_S: Final = 0.01


def follow_run(runtime: Runtime, namespace: str, run_id: RunId, *, beat_s: float = 1.0) -> Iterator[Description]:
    """Where a run stands, again at every change, until it has ended; then the run that takes its place, if one does.

    Changes that come in one burst are one.

    Args:
        runtime: Of this process.
        namespace: It is kept in.
        run_id: The run.
        beat_s: When nothing changes for so long, the same object comes again, so that a caller can see to its clock.

    Raises:
        WorkflowNotFoundError: No such run.
        StoreUnavailableError: Redis does not answer.
    """
    store = runtime.store(namespace)
    while True:
        last = None
        subscription = store.followers.subscribe(run_id)
        try:
            for last in _states(runtime, store, subscription, namespace, run_id, beat_s):
                yield last
        finally:
            subscription.close()
        if last is None or not last.next_run_id:
            return
        run_id = RunId(last.next_run_id)


def _states(
    runtime: Runtime, store: Store, subscription: Subscription, namespace: str, run_id: RunId, beat_s: float
) -> Iterator[Description]:
    last: Description | None = None
    followed_until = look_at = 0.0
    while True:
        now = time.monotonic()
        if now >= followed_until - _LOOK_AGAIN_S:
            store.followers.follow(run_id, for_ms=int(_FOLLOW_S * 1000))
            followed_until = now + _FOLLOW_S
        record = store.runs.record(run_id, extra=True)
        seen = describe_record(record, namespace, store.runs.open_commands(run_id), settings=runtime.settings)
        if seen != last:
            last = seen
            yield last
        if seen.closed_ms:
            return
        look_at = time.monotonic() + _LOOK_AGAIN_S
        while not subscription.wait(min(beat_s, max(look_at - time.monotonic(), 0))):
            if time.monotonic() >= look_at:
                break  # a message may have been lost with a connection
            yield last
        burst_until = time.monotonic() + _BURST_S
        while time.monotonic() < burst_until and subscription.wait(_PAUSE_S):
            pass

"""Which workers take tasks from a queue, and whether all of them have the extension.

Workers with the extension say so in the store. Celery's own ``inspect`` is asked for all others, in a thread, and only
when somebody has to know: before the message of an attempt is sent again that a worker without the extension may run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from kombu.exceptions import ContentDisallowed

from orchestration.errors import StoreError
from orchestration.tasks.asking import remote_control
from orchestration.tasks.runtime import Runtime

__all__ = ["Consumers"]

logger = logging.getLogger(__name__)

_SAY_EVERY_S: Final = 5.0
_SILENT_MS: Final = 60_000
_ANSWER_WITHIN_S: Final = 2.0
_KNOWN_FOR_S: Final = 30.0
_MOST_FAILURES: Final = 3
_FOREIGN_FOR_S: Final = 600.0
"""A worker that is busy, with the solo pool, answers to nothing: who has once been seen counts for a while."""


class Consumers:
    """The workers of a deployment, as one of them sees them.

    Args:
        runtime: Of this process.
        node: Node name of this worker; empty: it says nothing of itself.
    """

    def __init__(self, runtime: Runtime, node: str) -> None:
        self._runtime = runtime
        self._node = node
        self._lock = threading.Lock()
        self._said = float("-inf")
        self._ours: dict[str, list[str]] = {}
        self._anywhere = float("-inf")
        self._failures = 0
        self._answered = float("-inf")
        self._foreign: dict[tuple[str, str], float] = {}
        self._thread: threading.Thread | None = None

    def say(self) -> None:
        """Say which queues this worker takes tasks from, now and then; hear of the others."""
        now = time.monotonic()
        if self._node and now - self._said > _SAY_EVERY_S:
            self._said = now
            self._note(list(self._runtime.app.amqp.queues.consume_from))

    def leave(self) -> None:
        """This worker goes."""
        try:
            if self._node:
                self._note([])
        except StoreError as error:
            logger.info("could not say that this worker goes: %s", error)

    def _note(self, queues: Sequence[str]) -> None:
        store = self._runtime.store(self._runtime.settings.namespace)
        ours = store.foreign.note_consumer(self._node, queues, silent_ms=_SILENT_MS)
        with self._lock:
            self._ours = ours
            # One that answered before it had said that it is ours has said it now.
            self._foreign = {seen: when for seen, when in self._foreign.items() if seen[0] not in ours}

    def whose(self, queue: str) -> str:
        """Who takes tasks from a queue.

        Returns:
            ``ours``: workers with the extension alone; ``foreign``: others too, or nobody who is known; empty: they
            have been asked, ask again in a moment.
        """
        now = time.monotonic()
        if now - self._answered > _KNOWN_FOR_S:
            self._ask()
            return ""
        seen = [when for (_, name), when in self._foreign.items() if name == queue]
        if now - max(self._anywhere, *seen, float("-inf")) < _FOREIGN_FOR_S:
            return "foreign"
        return "ours" if any(queue in queues for queues in self._ours.values()) else "foreign"

    def _ask(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = threading.Thread(target=self._listen, name="orchestration-inspect", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            # Not over a connection of Celery's pool: one that has waited for answers is read from once more when it is
            # closed, and each process that a worker forks closes the pool, while the answer goes to the worker.
            app = self._runtime.app
            with app.connection_for_write() as connection:
                control = remote_control(app)
                answers = control.broadcast(
                    "active_queues", reply=True, timeout=_ANSWER_WITHIN_S, connection=connection
                ) or ()  # fmt: skip
        except ContentDisallowed:  # by a worker that answers in pickle: it is none of ours, and may be anywhere
            self._anywhere = self._answered = time.monotonic()
            return
        except Exception as error:  # noqa: BLE001 - whatever the broker's transport raises; it is asked again
            logger.warning("workers cannot be asked for their queues: %s", error)
            self._failures += 1
            if self._failures >= _MOST_FAILURES:  # a broker without broadcasts: what the store says has to do
                self._answered = time.monotonic()
            return
        self._failures = 0
        now = time.monotonic()
        heard = Counter(str(node) for answer in answers for node in answer)
        with self._lock:
            known = {seen: when for seen, when in self._foreign.items() if now - when < _FOREIGN_FOR_S}
            for node, queues in ((str(node), queues) for answer in answers for node, queues in answer.items()):
                if node in self._ours and heard[node] == 1:
                    continue
                # Two workers have the name of one of ours: which of them has the extension is not to be told.
                who = node if node not in self._ours else f"{node} and its namesake"
                known.update({(who, str(queue["name"])): now for queue in queues if isinstance(queue, Mapping)})
            self._foreign = known
        self._answered = now

"""Celery tasks as functions: sent, and awaited without a thread for each.

A result backend that publishes its results (Redis) is listened to in one thread, on connections of this module's own:
Celery's are for one thread. With any other backend each call waits in a thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from celery import Celery
from celery.result import AsyncResult
from kombu import Producer
from kombu.utils.uuid import uuid

from orchestration.errors import ApplicationError

__all__ = ["CeleryCalls"]

logger = logging.getLogger(__name__)

_LISTEN_S: Final = 1.0
_LOOK_AGAIN_S: Final = 5.0

Done = Callable[[BaseException | None, Any], None]
Send = Callable[[Producer], object]


class CeleryCalls:
    """Calls of Celery tasks of one node.

    Args:
        app: The application.
        submit: Runs something that waits in a thread.
        publish: Gives a message out by the producer that it calls this with, unless this node may not act any more: it
            raises then.
        timeout_s: After which a call that has no answer is given up.
    """

    def __init__(
        self, app: Celery, submit: Callable[[Callable[[], None]], None], publish: Callable[[Send], None],
        timeout_s: float,
    ) -> None:  # fmt: skip
        self._app = app
        self._publish = publish
        self._submit = submit
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._backend: Any = None
        self._pending: dict[str, tuple[AsyncResult, float, Done]] = {}
        self._is_listening = False
        self._listener: threading.Thread | None = None
        self._heard: deque[str] = deque()
        self._closed = False

    def call(self, task: str, args: Sequence[Any], options: Mapping[str, Any], done: Done) -> None:
        """Send a task; ``done`` is told its exception, or None and its result, in another thread.

        Args:
            task: Name of the task.
            args: Positional arguments.
            options: Of ``send_task``: queue, headers, kwargs.
            done: Called once.
        """

        def send() -> None:
            try:
                self._send(task, args, options, done)
            except Exception as error:  # noqa: BLE001 - the broker or the backend is away; whoever called is told
                done(_unavailable(error), None)

        self._submit(send)  # publishing may wait for the broker

    def close(self) -> None:
        """Stop listening; what has no answer gets none."""
        self._closed = True

    def _send(self, task: str, args: Sequence[Any], options: Mapping[str, Any], done: Done) -> None:
        if type(self._app.backend).__name__ == "DisabledBackend":
            text = f"the result of {task} cannot be awaited: the application has no result backend"
            raise ApplicationError(text, kind="Unavailable", retryable=False)
        task_id = uuid()

        def send(producer: Producer) -> object:
            return self._app.send_task(
                task, args=list(args), task_id=task_id, ignore_result=False, producer=producer, **options
            )

        if not hasattr(getattr(self._app.backend, "result_consumer", None), "_pubsub"):
            self._publish(send)
            _wait(AsyncResult(task_id, app=self._app), self._timeout_s, done)
            return
        with self._lock:
            if self._backend is None:
                self._backend = self._app._get_backend()
            result = AsyncResult(task_id, backend=self._backend, app=self._app)
            self._pending[task_id] = (result, time.monotonic() + self._timeout_s, done)
            if not self._is_listening:
                self._is_listening = True
                self._listener = threading.Thread(target=self._listen, name="orchestration-results", daemon=True)
                self._listener.start()
        result.on_ready.then(lambda ready: self._note(ready.id), lambda *_: self._note(task_id))
        try:
            # Before it can have ended; and not under our lock: the consumer has one of its own, under which it tells
            # the listener of what has ended.
            self._backend.add_pending_result(result)
            self._publish(send)
        except BaseException:
            if self._forget(task_id) is not None:  # else it was sent all the same, and its answer has been told
                raise

    def _note(self, task_id: str) -> None:
        """A result has come; what waits for it is told when the consumer holds no lock."""
        if threading.current_thread() is self._listener:
            self._heard.append(task_id)
        else:
            self._take(task_id)

    def _take(self, task_id: str) -> None:
        found = self._forget(task_id)
        if found is None:
            return
        result, _, done = found
        error: Exception | None = None
        value = None
        try:
            value = result.get(propagate=True, disable_sync_subtasks=False) if result._cache else None
        except Exception as raised:  # noqa: BLE001 - whatever the task raised is its answer
            error = raised
        try:
            done(error, value)
        except Exception:
            logger.exception("the result of task %s could not be told", task_id)

    def _forget(self, task_id: str) -> tuple[AsyncResult, float, Done] | None:
        with self._lock:
            return self._pending.pop(task_id, None)

    def _listen(self) -> None:
        looked = time.monotonic()
        while not self._closed:
            with self._lock:
                if not self._pending:
                    self._is_listening = False
                    return
            try:
                self._backend.result_consumer.drain_events(timeout=_LISTEN_S)
            except TimeoutError:
                pass
            except Exception as error:  # noqa: BLE001 - the backend is away; it is asked again
                logger.warning("results cannot be heard: %s", error)
                time.sleep(_LISTEN_S)
            while self._heard:
                self._take(self._heard.popleft())
            if time.monotonic() - looked > _LOOK_AGAIN_S:
                looked = time.monotonic()
                self._look_again()

    def _look_again(self) -> None:
        """What was said while nobody listened, and what nobody says any more."""
        with self._lock:
            pending = list(self._pending.items())
        for task_id, (result, deadline, done) in pending:
            try:
                if result.ready():
                    self._take(task_id)
                    continue
            except Exception as error:  # noqa: BLE001 - asked again later
                logger.warning("a result cannot be read: %s", error)
            if time.monotonic() > deadline and self._forget(task_id) is not None:
                done(_late(self._timeout_s), None)


def _wait(result: AsyncResult, timeout_s: float, done: Done) -> None:
    try:
        value = result.get(timeout=timeout_s, disable_sync_subtasks=False)
    except Exception as error:  # noqa: BLE001 - whatever the task raised is its answer
        done(error, None)
    else:
        done(None, value)


def _unavailable(error: Exception) -> Exception:
    if isinstance(error, ApplicationError):
        return error
    return ApplicationError(f"the task could not be sent: {error}", kind="Unavailable", retryable=True)


def _late(timeout_s: float) -> ApplicationError:
    return ApplicationError(f"no result within {timeout_s:g} s", kind="Timeout", retryable=False)

"""Messages to workers: built by Celery itself, and captured so that a script gives them out with its commit.

When the broker is the same Redis as the store, a message is made the usual way (router, serializer, signals, priority
steps) but its last Redis command is caught instead of run. The command then travels in the arguments of the script
that writes the history: commit and dispatch are one atomic step. With any other broker nothing is captured and the
caller publishes after the commit.

Source: ``Producer.batch`` and ``Channel.create_publish_batch`` of kombu 5.7 (kombu/messaging.py,
kombu/transport/redis.py).
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from celery import Celery
from celery.exceptions import QueueNotFound
from celery.utils.quorum_queues import detect_quorum_queues
from kombu import Exchange, Producer, Queue
from kombu.exceptions import OperationalError
from kombu.transport import redis

from orchestration.core.identity import Identity
from orchestration.errors import ConfigError, StoreUnavailableError
from orchestration.store.attempts import AttemptId
from orchestration.store.connection import Connection
from orchestration.store.results import Push, Pushes
from orchestration.tasks.confirmed import REFUSED, ConfirmedProducers
from orchestration.tasks.foreign.links import report_links
from orchestration.tasks.templates import MessageModels, about_run, shown_kwargs
from orchestration.tasks.tokens import encode_token
from orchestration.telemetry.facade import Telemetry

__all__ = ["IDENTITY", "MARK", "RESUME_TASK", "AttemptMark", "Messages", "attempt_task_id"]

logger = logging.getLogger(__name__)

RESUME_TASK = "orchestration.resume"
MARK = "orchestration"
"""Name of the header that tells an activity attempt from an ordinary task."""

IDENTITY = "orchestration_identity"
"""Name of the header with the actor and the scope of a call or start that is no attempt."""

_IDS = uuid.UUID("6f7263e0-0000-5000-8000-6f7263687374")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptMark:
    """What the message of an attempt carries beside the task's own arguments.

    Attributes:
        namespace: Of the run.
        attempt: Which attempt.
        target: Entry id that the workflow called.
        workflow_id: Of the run.
        workflow_type: Of the run.
        queue: Queue of the workflow; empty for Celery's default.
        close_ms: Start-to-close timeout.
        beat_ms: Heartbeat timeout, 0 for none.
        key: Idempotency key, the same for all attempts.
        context: Context values of the call.
        identity: In whose name it is called.
    """

    namespace: str
    attempt: AttemptId
    target: str
    workflow_id: str
    workflow_type: str
    queue: str
    close_ms: int
    beat_ms: int
    key: str
    context: dict[str, Any]
    identity: Identity = field(default_factory=Identity)

    @property
    def about(self) -> str:
        """Which run it is of, for people."""
        return about_run(self.workflow_id, self.workflow_type)

    @property
    def facts(self) -> dict[str, Any]:
        """What log records say of it."""
        a = self.attempt
        return {
            "namespace": self.namespace, "workflow_id": self.workflow_id, "run_id": a.run_id,
            "workflow_type": self.workflow_type, "activity": self.target, "seq": a.seq, "attempt": a.attempt,
        }  # fmt: skip

    def of(self, attempt: AttemptId) -> AttemptMark:
        """The mark of another attempt of the same activity."""
        return replace(self, attempt=attempt)

    def to_header(self) -> list[Any]:
        """The mark as it stands in the message header."""
        a = self.attempt
        header = [
            1, self.namespace, a.run_id, a.seq, a.attempt, a.token, self.target, self.workflow_id,
            self.workflow_type, self.queue, self.close_ms, self.beat_ms, self.key, self.context,
        ]  # fmt: skip
        who = self.identity.fields()
        return [*header, who] if who else header  # a worker of an older release refuses what it cannot honour

    @classmethod
    def from_header(cls, header: Sequence[Any]) -> AttemptMark:
        """Read the mark of a received message.

        Raises:
            ValueError: Another release wrote it in a form that this one does not know.
        """
        if not header or header[0] != 1:
            raise ValueError(f"unknown form of the {MARK} header: {header!r:.80}")
        _, namespace, run_id, seq, attempt, token, target, wid, wtype, queue, close_ms, beat_ms, key, *rest = header
        context, identity = rest[0], Identity.of(rest[1]) if len(rest) > 1 else Identity()
        return cls(
            namespace=namespace, attempt=AttemptId(run_id, int(seq), int(attempt), token), target=target,
            workflow_id=wid, workflow_type=wtype, queue=queue, close_ms=int(close_ms), beat_ms=int(beat_ms), key=key,
            context=dict(context), identity=identity,
        )  # fmt: skip


class _Capture:
    """Stands in for kombu's publish batch and keeps the commands."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.commands: list[Push] = []

    def publish(self, message: Any, **kwargs: Any) -> Any:
        return self.channel.basic_publish(message, _publish_batch=self, **kwargs)

    def add(self, name: str, *args: Any) -> None:
        prefix = getattr(self.channel, "global_keyprefix", "") or ""
        self.commands.append((name, prefix + args[0], *args[1:]))

    def flush(self) -> None:
        """Nothing to do: the store's script gives the commands out."""

    discard = close = flush


class Messages:
    """Makes the messages that move runs.

    Args:
        app: The Celery application.
        connection: Of the store, to see whether broker and store are one server.
    """

    def __init__(self, app: Celery, connection: Connection) -> None:
        self._app = app
        self._connection = connection
        self._broker_database: int | None = None
        self._checked = False
        self._models = MessageModels(app)
        self._addresses: dict[str, dict[str, str]] = {}
        self._confirmed: ConfirmedProducers | None = None
        self._lock = threading.Lock()

    @property
    def atomic(self) -> bool:
        """Whether messages can be given out by the store's scripts: broker and store are the same Redis."""
        if not self._checked:
            try:
                self._broker_database = self._find_broker()
            except self.broker_errors as error:
                logger.warning("the broker is away, messages are sent after the commit for now: %s", error)
                return False
            self._checked = True
        return self._broker_database is not None

    @cached_property
    def broker_errors(self) -> tuple[type[BaseException], ...]:
        """What publishing raises while the broker is away or out of order."""
        connection = self._app.connection_for_write()  # is not opened
        return (*connection.connection_errors, *connection.channel_errors, *REFUSED, OperationalError, OSError)

    @cached_property
    def _driver(self) -> str:
        return str(self._app.connection_for_write().transport.driver_type)  # is not opened

    @property
    def holds_delays(self) -> bool:
        """Whether a message with an ETA is kept until then without harm, to the moment.

        Quorum queues of RabbitMQ do not: with a direct exchange each would take one of the messages that a worker may
        hold, for good; with a topic exchange the broker delays it by whole seconds, and refuses less than one.
        """
        return not detect_quorum_queues(self._app, self._driver)[0]

    @contextmanager
    def producer(self) -> Iterator[Producer]:
        """A producer whose messages the broker has when publishing returns."""
        if self._driver != "amqp":
            with self._app.producer_pool.acquire(block=True) as producer:
                yield producer
            return
        with self._lock:
            if self._confirmed is None:
                self._confirmed = ConfirmedProducers(self._app)
            confirmed = self._confirmed
        with confirmed.acquire() as producer:
            yield producer

    def close(self) -> None:
        """Let go of connections that are not the application's own."""
        with self._lock:
            confirmed, self._confirmed = self._confirmed, None
        if confirmed is not None:
            confirmed.close()

    def _find_broker(self) -> int | None:
        with self._app.connection_for_write() as connection:
            if connection.transport.driver_type != "redis":
                return None
            channel = connection.default_channel
            by_sentinels = isinstance(connection.transport, redis.SentinelTransport)
            # Of two ways to one server, one may lead to another server tomorrow.
            if by_sentinels != getattr(self._connection, "is_found_by_sentinels", False):
                return None
            # Of several brokers workers may be at another one than this process, once the first has been away.
            if not by_sentinels and len(set(connection.alt)) > 1:
                return None
            ours = self._connection.server_id()
            if not ours or not hasattr(channel, "create_publish_batch"):
                return None
            same = channel.client.info("server").get("run_id") == ours
            database = int(channel.client.connection_pool.connection_kwargs.get("db") or 0)
        return database if same else None

    def pushes(self, *sends: Callable[[Producer], object]) -> Pushes:
        """Make messages to be given out by a script; empty when that cannot be.

        Args:
            sends: Each publishes with the producer it is given.

        Raises:
            ConfigError: Celery refuses one: its settings have no such queue.
            StoreUnavailableError: Redis does not answer.
        """
        if not self.atomic:
            return Pushes()
        commands: list[Push] = []
        ordinary = [send for send in sends if not isinstance(send, AttemptSend)]
        for send in sends:
            if isinstance(send, AttemptSend):
                commands.extend(send.modelled(self._models, self._captured))
        return Pushes(self._broker_database or 0, (*commands, *self._captured(*ordinary).commands))

    def _captured(self, *sends: Callable[[Producer], object]) -> Pushes:
        if not sends:
            return Pushes()
        try:
            with self._capture() as (producer, capture):
                for send in sends:
                    send(producer)
        except QueueNotFound as error:
            raise ConfigError(f"a message cannot be sent from this process: {error}") from error
        except self.broker_errors as error:
            raise StoreUnavailableError(f"Redis, which is the broker too, does not answer: {error}") from error
        return Pushes(self._broker_database or 0, tuple(capture.commands))

    @contextmanager
    def _capture(self) -> Iterator[tuple[Producer, _Capture]]:
        with self._app.producer_pool.acquire(block=True) as producer:
            channel = producer.channel
            capture = _Capture(channel)
            channel.create_publish_batch = lambda max_size: capture  # noqa: ARG005 - kombu names the argument
            try:
                with producer.batch():
                    yield producer, capture
            finally:
                del channel.create_publish_batch

    def publish(self, *sends: Callable[[Producer], object]) -> bool:
        """Publish messages at once, in the ordinary way.

        Everything sent here can be found missing in the store and is sent again by the sweep: a broker that is away
        holds nobody up, and above all parks no run.

        Returns:
            Whether the broker has taken them all.
        """
        if not sends:
            return True
        with self.producer() as producer:
            try:
                for send in sends:
                    send(producer)
            except QueueNotFound as error:  # a KeyError, which with Redis is one of the broker's own
                logger.error("a message cannot be sent from this process, and is left to the sweep: %s", error)
                return False
            except self.broker_errors as error:
                logger.warning("the broker is away, messages are left to the sweep: %s", error)
                return False
        return True

    def resume(
        self, namespace: str, run_id: str, *, queue: str, seq: int = 0, delay_ms: int = 0, about: str = ""
    ) -> Callable[[Producer], object]:
        """Message that has a worker look after a run.

        Args:
            namespace: Of the run.
            run_id: The run.
            queue: Its task queue; empty for Celery's default.
            seq: Number of the timer that is due then, or of the activity to be tried again, below 0; 0 for none.
            delay_ms: The message is an ETA task that far from now.
            about: Which run it is, for people, as :func:`about_run` says it; empty: not known here.
        """
        options: dict[str, Any] = {"queue": self._named(queue)} if queue else {}
        if delay_ms > 0:
            options["countdown"] = delay_ms / 1000
        if about:
            options["kwargsrepr"] = about

        def send(producer: Producer) -> object:
            return self._app.send_task(
                RESUME_TASK, args=[namespace, run_id, seq], producer=producer, ignore_result=True,
                add_to_parent=False, serializer="json", root_id=run_id, parent_id=run_id, **options,
            )  # fmt: skip

        return send

    def attempt(
        self, mark: AttemptMark, *, task: str, queue: str, args: Sequence[Any],
        kwargs: Mapping[str, Any] | None = None, is_foreign: bool = False, telemetry: Telemetry | None = None,
        trace: str = "",
    ) -> AttemptSend:  # fmt: skip
        """Message of an activity attempt: the ordinary Celery task with a mark in its headers.

        Args:
            mark: Which attempt it is.
            task: Name of the Celery task.
            queue: Where to; empty for Celery's own routing.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            is_foreign: A worker without the extension may get it: links report how it ends, and its result is stored.
            telemetry: Of this process; None: off.
            trace: The activity's span, as a ``traceparent``, for what the attempt does; empty: none.
        """
        headers: dict[str, Any] = {MARK: mark.to_header()}
        links = None
        if is_foreign:
            links = report_links(encode_token(mark.namespace, mark.attempt), self.report_address(mark.queue))
            headers["ignore_result"] = False  # the worker is to store it, but this process does not wait for it
        if telemetry is None or not trace:
            return AttemptSend(self._app, mark, task, self._named(queue), args, kwargs or {}, headers, links)
        headers.update(telemetry.headers(trace))
        return AttemptSend(
            self._app, mark, task, self._named(queue), args, kwargs or {}, headers, links,
            lambda: telemetry.below_span(trace),
        )  # fmt: skip

    def refusal(self, task: str, queue: str) -> str:
        """Why Celery would not send a task from this process: its queue is not there. Empty: it would.

        Args:
            task: Name of the task.
            queue: Where to; empty for Celery's own routing.
        """
        amqp = self._app.amqp
        if amqp.queues.create_missing:
            return ""
        try:
            amqp.router.route({"queue": queue} if queue else {}, task)
        except QueueNotFound as error:
            return f"{error.args[0]} (task_create_missing_queues is off)"
        return ""

    def _named(self, queue: str) -> str | Queue:
        """A queue as Celery takes it.

        One that is not in the settings of this process, and that Celery may not make up, is in those of others: what
        was meant for it once is sent there by its name alone, so that any worker can wake a run and send a message
        again. Whether a queue is a mistake is asked before: see :meth:`refusal`.
        """
        queues = self._app.amqp.queues
        if not queue or queues.create_missing or queue in queues or queue in queues.aliases:
            return queue
        anonymous = Exchange("", type="direct")  # type: ignore[no-untyped-call]
        return Queue(queue, anonymous, routing_key=queue, no_declare=True)  # type: ignore[no-untyped-call]

    def report_address(self, queue: str) -> dict[str, str]:
        """Where the report of an attempt goes, as options of a signature: to the queue of its workflow.

        The worker that takes it advances the workflow right there. The binding is declared here: without one a message
        would vanish, and the process that will send it cannot know of it.

        Args:
            queue: Of the workflow; empty for Celery's default queue.
        """
        found = self._addresses.get(queue)
        if found is not None:
            return found
        name = queue or self._app.conf.task_default_queue
        if isinstance(self._named(name), Queue):
            return {"queue": name}
        declared = self._app.amqp.queues[name]
        address = {"exchange": declared.exchange.name, "routing_key": declared.routing_key or name}
        if not declared.exchange.name:
            address = {"queue": name}
        try:
            self.declare(name)
        except self.broker_errors as error:
            logger.warning("the broker is away, a queue is declared later: %s", error, extra={"queue": name})
        else:
            self._addresses[queue] = address
        return address

    def destination(self, task: str, queue: str) -> tuple[str, str]:
        """Where Celery sends a task: name of the queue, empty where only an exchange is named, and the routing key.

        Args:
            task: Name of the task.
            queue: As the activity has it; empty for Celery's own routing.
        """
        amqp = self._app.amqp
        try:
            route = amqp.router.route({"queue": queue} if queue else {}, task)
        except QueueNotFound:
            return queue, queue
        found = route.get("queue")
        if found is None or route.get("exchange"):
            return "", str(route.get("routing_key") or "")
        name = str(getattr(found, "name", found))
        exchange = getattr(found, "exchange", None)
        is_direct = exchange is None or exchange.type == "direct"
        return name, name if is_direct else str(route.get("routing_key") or found.routing_key or name)

    def declare(self, queue: str) -> None:
        """Declare a queue and its binding, whatever producers remember of having done so."""
        if isinstance(self._named(queue), Queue):
            return  # by those who know what it is like
        with self._app.producer_pool.acquire(block=True) as producer:
            self._app.amqp.queues[queue].bind(producer.channel).declare()


class AttemptSend:
    """Publishes the message of an attempt, or makes it from a model.

    Args:
        app: The Celery application.
        mark: Which attempt it is.
        task: Name of the Celery task.
        queue: Where to, a name where Celery finds it; empty for Celery's own routing.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        headers: The mark, and what else the message carries.
        links: Its ``link`` and ``link_error``, where a worker without the extension may get it.
        inside: While the message is made; None: nothing special.
    """

    def __init__(
        self, app: Celery, mark: AttemptMark, task: str, queue: str | Queue, args: Sequence[Any],
        kwargs: Mapping[str, Any], headers: Mapping[str, Any],
        links: tuple[dict[str, Any], dict[str, Any]] | None = None,
        inside: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> None:  # fmt: skip
        self._app = app
        self._mark = mark
        self._task = task
        self._queue = queue
        self._args = args
        self._kwargs = kwargs
        self._headers = headers
        self._links = links
        self._inside = inside
        self._id = attempt_task_id(mark.attempt)

    def __call__(self, producer: Producer) -> object:
        """Publish with a producer."""
        options: dict[str, Any] = {"queue": self._queue} if self._queue else {}
        if self._links:
            options |= {"link": [self._links[0]], "link_error": [self._links[1]]}
        if self._inside is None:
            return self._send(producer, options)
        with self._inside(), _keeping(producer, self._headers):
            return self._send(producer, options)

    def _send(self, producer: Producer, options: dict[str, Any]) -> object:
        run_id = self._mark.attempt.run_id
        return self._app.send_task(
            self._task, args=list(self._args), kwargs=dict(self._kwargs), producer=producer, ignore_result=True,
            add_to_parent=False, task_id=self._id, serializer="json", headers=dict(self._headers), root_id=run_id,
            parent_id=run_id, kwargsrepr=shown_kwargs(self._kwargs, self._mark.about), **options,
        )  # fmt: skip

    def modelled(self, models: MessageModels, captured: Callable[..., Pushes]) -> tuple[Push, ...]:
        """The same message as broker commands, made from a model where that is safe."""
        if isinstance(self._queue, Queue):
            return captured(self).commands
        return models.make(
            self._task, self._queue, task_id=self._id, run_id=self._mark.attempt.run_id, args=self._args,
            kwargs=self._kwargs, headers=self._headers, links=self._links, about=self._mark.about,
            real=lambda: captured(self),
        )  # fmt: skip


@contextmanager
def _keeping(producer: Producer, headers: Mapping[str, Any]) -> Iterator[None]:
    """Have a message keep headers that receivers of ``before_task_publish`` may have changed.

    Celery's instrumentation puts a span of its own there, which it never ends if this process does not know the task:
    what the attempt does would hang in the air.

    Source: ``_trace_after_publish`` of opentelemetry-instrumentation-celery 0.66b2.
    """
    changed: Any = producer
    original = changed.publish

    def publish(body: Any, **options: Any) -> Any:
        options["headers"] = {**(options.get("headers") or {}), **headers}
        return original(body, **options)

    changed.publish = publish
    try:
        yield
    finally:
        del changed.publish


def attempt_task_id(attempt: AttemptId) -> str:
    """Celery task id of an attempt: the same however often its message is sent."""
    return str(uuid.uuid5(_IDS, f"{attempt.run_id}/{attempt.seq}/{attempt.attempt}/{attempt.token}"))


def idempotency_key(run_id: str, seq: int, token: str) -> str:
    """Key that all attempts of one activity share, and no other activity has."""
    return str(uuid.uuid5(_IDS, f"key/{run_id}/{seq}/{token}"))

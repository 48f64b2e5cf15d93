"""Starts of workflows by Celery's own ways (``delay``, ``apply_async``, ``send_task``, canvas): the run is written
before its message is published, in this process, and errors reach the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kombu import Producer

from orchestration.core.identity import Identity
from orchestration.registry.kinds.lua import WorkflowLua
from orchestration.tasks.kept_request import kept_request
from orchestration.tasks.messages import IDENTITY
from orchestration.tasks.moments import ms_until
from orchestration.tasks.signatures import address_signatures
from orchestration.tasks.starts import (
    RUN_MARK,
    StartRequest,
    find_workflow,
    start,
    workflow_args,
    workflow_queue,
)
from orchestration.types import RunId

if TYPE_CHECKING:
    from orchestration.tasks.app import Orchestration

__all__ = ["install_publishing", "request_of_message"]


def request_of_message(message: Any) -> dict[str, Any]:
    """The request that a worker would make of a message."""
    headers, properties, (args, kwargs, embed), _ = message
    return {**headers, **embed, "reply_to": properties.get("reply_to"), "args": args, "kwargs": kwargs,
            "correlation_id": properties.get("correlation_id")}  # fmt: skip


def install_publishing(orchestration: Orchestration) -> None:
    """Have messages of workflow entries written as runs first, and routed to their task queues."""
    app = orchestration.app
    amqp = app.amqp
    original = amqp.send_task_message
    names = {entry.id for entry in orchestration.registry.of(WorkflowLua)}

    def send_task_message(producer: Any, name: str, message: Any, **options: Any) -> Any:
        headers = options.get("headers") or {}
        if isinstance(message[2], tuple):  # a message of the second protocol
            address_signatures(message[2][2], orchestration.queue_of)
        if name not in names or RUN_MARK in message[0] or RUN_MARK in headers:
            return original(producer, name, message, **options)
        return _start(orchestration, original, producer, name, message, options)

    amqp.__dict__["send_task_message"] = send_task_message

    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> Any:
        del args, kwargs, options, task
        if name in names:
            entry = find_workflow(orchestration.runtime, orchestration.registry.get(name).type_name)  # type: ignore[attr-defined]
            queue = workflow_queue(orchestration.runtime, entry.id)
            return {"queue": queue} if queue else None
        entry_queue = orchestration.registry.task_queue(name) if name in orchestration.registry else None
        return {"queue": entry_queue} if entry_queue else None

    route.orchestrated = True  # type: ignore[attr-defined]
    routes = app.conf.task_routes or ()
    app.conf.task_routes = [route, *(routes if isinstance(routes, (list, tuple)) else [routes])]
    amqp.__dict__.pop("router", None)
    amqp.__dict__.pop("routes", None)
    amqp._rtable = None


def _start(
    orchestration: Orchestration, original: Callable[..., Any], producer: Any, name: str, message: Any,
    options: dict[str, Any],
) -> Any:  # fmt: skip
    runtime = orchestration.runtime
    request = request_of_message(message)
    # The run has the arguments, as values that Celery's own serializer might not know; its message goes without. It is
    # the run, too, that expires: a worker that met the message late would mark a task as revoked that is going on.
    headers, properties, (_, _, embed), sent_event = message
    message = type(message)({**headers, "expires": None}, properties, ((), {}, embed), sent_event)
    queue = options.get("queue")
    queue_name = queue if isinstance(queue, str) or queue is None else queue.name

    def bring(namespace: str, run_id: RunId) -> Callable[[Producer], object]:
        def send(used: Producer) -> object:
            message[0][RUN_MARK] = [namespace, run_id]
            return original(used, name, message, **options)

        return send

    wanted = StartRequest(
        workflow_type=orchestration.registry.get(name).type_name,  # type: ignore[attr-defined]
        args=workflow_args(request["args"], request["kwargs"] or {}, limit=runtime.settings.value_limit_bytes),
        workflow_id=str(request["id"]),
        request_id=str(request["id"]),
        task_id=str(request["id"]),
        request=kept_request(request, orchestration.app.tasks[name].backend),
        queue=queue_name,
        delay_ms=ms_until(request.get("eta"), orchestration.app),
        expires_ms=max(ms_until(request["expires"], orchestration.app), 1) if request.get("expires") else 0,
        identity=Identity.of(request.get(IDENTITY) or (options.get("headers") or {}).get(IDENTITY) or {}),
        caller=runtime.telemetry.caller(options.get("headers") or {}) if runtime.telemetry is not None else "",
    )
    del producer  # the message is given out with the run, by the store or by a producer of the application's pool
    return start(runtime, wanted, message=bring)

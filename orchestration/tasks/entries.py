"""Celery tasks of the definitions: workflows that suspend, functions in Lua and Python, and the wake-up of runs."""

from __future__ import annotations

import contextlib
import importlib
import logging
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from orchestration.core.identity import Identity
from orchestration.errors import RegistryError, StoreError, StoreUnavailableError, WorkflowAlreadyStartedError
from orchestration.registry.kinds.functions import FunctionCelery, FunctionPython
from orchestration.registry.kinds.lua import FunctionLua, ProcessLua, WorkflowLua
from orchestration.registry.kinds.processes import ProcessPython
from orchestration.tasks.calls import with_retries
from orchestration.tasks.canvas import canvas_body, register_canvas_reports
from orchestration.tasks.dispatch import retry_attempt
from orchestration.tasks.foreign.reports import register_reports
from orchestration.tasks.functions import run_function
from orchestration.tasks.kept_request import kept_request
from orchestration.tasks.messages import IDENTITY, RESUME_TASK
from orchestration.tasks.pools import check_lua, pool_without_lua
from orchestration.tasks.signatures import routed_base
from orchestration.tasks.starts import RUN_MARK, StartRequest, start, workflow_args
from orchestration.types import RunId

if TYPE_CHECKING:
    from orchestration.tasks.app import Orchestration

__all__ = ["register_entries"]

logger = logging.getLogger(__name__)


def register_entries(orchestration: Orchestration) -> None:
    """Register a Celery task for each definition that can be called, under its id."""
    app = orchestration.app
    base = routed_base(app.Task, orchestration.queue_of)

    def add(fn: Any, name: str, **options: Any) -> None:
        app.task(fn, name=name, bind=True, shared=False, lazy=False, base=base, **options)

    for entry in orchestration.registry.entries:
        if isinstance(entry, WorkflowLua):
            add(
                _workflow(orchestration, entry), entry.id, acks_late=True, reject_on_worker_lost=True,
                track_started=False, Request="orchestration.tasks.revoking:StartMessage",
            )  # fmt: skip
        elif isinstance(entry, FunctionLua):
            add(_function(orchestration, entry), entry.id)
        elif isinstance(entry, FunctionPython):
            add(_python(orchestration, entry), entry.id)
        elif isinstance(entry, FunctionCelery) and entry.canvas:
            add(canvas_body(orchestration, entry), entry.id)
        elif isinstance(entry, ProcessLua | ProcessPython) and entry.default_host:
            add(_process(orchestration, entry), entry.id)
    add(_resume(orchestration), RESUME_TASK, ignore_result=True, acks_late=False, track_started=False)
    register_reports(orchestration)
    register_canvas_reports(orchestration)


def _workflow(orchestration: Orchestration, entry: WorkflowLua) -> Any:
    def run(self: Any, *args: Any, **kwargs: Any) -> None:
        parts = orchestration.parts
        mark = self.request.get(RUN_MARK)
        if mark is not None:
            namespace, run_id = str(mark[0]), RunId(mark[1])
        else:
            try:
                namespace, run_id = _start_foreign(orchestration, entry, self.request, args, kwargs)
            except StoreUnavailableError as error:
                logger.warning("start put back: %s", error, extra={"workflow_id": self.request.id})
                raise Reject(str(error), requeue=True) from error
        # A failure of this task would be stored as the workflow's result. The run is written, the sweep knows it.
        with contextlib.suppress(StoreError, SoftTimeLimitExceeded):
            if _runs_lua(orchestration, namespace, run_id):
                parts.engine.take_up(namespace, run_id)
        raise Ignore("the workflow goes on; its result comes when it ends")

    return run


def _start_foreign(
    orchestration: Orchestration, entry: WorkflowLua, request: Any, args: Any, kwargs: Any
) -> tuple[str, RunId]:
    """Start the run of a message from a client without the extension."""
    runtime = orchestration.runtime
    facts = dict(vars(request))
    try:
        started = start(
            runtime,
            StartRequest(
                workflow_type=entry.type_name,
                args=workflow_args(args, kwargs, limit=runtime.settings.value_limit_bytes),
                workflow_id=request.id, request_id=request.id, task_id=request.id,
                request=kept_request(facts, orchestration.app.tasks[entry.id].backend),
                identity=Identity.of(request.get(IDENTITY) or {}),
                caller=runtime.telemetry.caller(facts) if runtime.telemetry is not None else "",
            ),
        )  # fmt: skip
    except WorkflowAlreadyStartedError as error:
        # A failure here would be stored as the result of the run that has the id.
        logger.error("start dropped: %s", error, extra={"workflow_id": request.id})
        raise Ignore(str(error)) from error
    return started.namespace, started.run_id


def _resume(orchestration: Orchestration) -> Any:
    def resume(self: Any, namespace: str, run_id: str, seq: int = 0) -> None:
        del self
        parts = orchestration.parts
        runs_lua = _runs_lua(orchestration, namespace, RunId(run_id))
        if not seq:
            if runs_lua:
                parts.engine.take_up(namespace, RunId(run_id))
            return
        if seq < 0:
            retry_attempt(parts.runtime, namespace, RunId(run_id), -seq)
            return
        store = parts.runtime.store(namespace)
        known = parts.runtime.cache.known(namespace, run_id)
        answer = store.timers.fire(RunId(run_id), seq, owner=parts.runtime.holder if runs_lua else "", known=known)
        if answer.status == "early":  # the clock of this host is ahead of Redis'
            queue = store.runs.record(RunId(run_id)).fields.get("queue", "")
            messages = parts.runtime.messages
            if messages.holds_delays:  # else it is overdue soon, and fired by the sweep
                messages.publish(messages.resume(namespace, run_id, queue=queue, seq=seq, delay_ms=int(answer.detail)))
            return
        parts.engine.follow(namespace, answer)

    return resume


def _runs_lua(orchestration: Orchestration, namespace: str, run_id: RunId) -> bool:
    """Whether this worker advances runs; where it can not, the sweep gives the run to another."""
    pool = pool_without_lua(orchestration.app)
    if not pool:
        return True
    records = orchestration.runtime.store(namespace).runs.records([run_id])
    what = records[0].fields.get("type", "") if records else "a run"
    text = "a run of %s is left to other workers: it is Lua, which the %s pool of this one can not run"
    logger.error(text, what, pool, extra={"run_id": run_id})
    return False


def _function(orchestration: Orchestration, entry: FunctionLua) -> Any:
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        check_lua(orchestration.app, entry.id)
        values = [*args, kwargs] if kwargs else list(args)
        given = self.request.get(IDENTITY)
        identity = Identity.of(given) if given else None
        return with_retries(
            lambda: run_function(orchestration.runtime, entry.id, values, identity=identity), entry.options
        )

    return run


def _process(orchestration: Orchestration, entry: ProcessLua | ProcessPython) -> Any:
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        from orchestration.tasks.process_calls import run_process

        if isinstance(entry, ProcessLua):
            check_lua(orchestration.app, entry.id)
        values = [*args, kwargs] if kwargs else list(args)
        given = self.request.get(IDENTITY)
        identity = Identity.of(given) if given else None
        return with_retries(
            lambda: run_process(orchestration.runtime, entry, values, identity=identity), entry.options
        )

    return run


def _python(orchestration: Orchestration, entry: FunctionPython) -> Any:
    def body(args: Any, kwargs: Any) -> Any:
        with orchestration.around_code("function"):
            return resolve_callable(entry)(*args, **kwargs)

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        del self
        return with_retries(lambda: body(args, kwargs), entry.options)

    return run


def resolve_callable(entry: FunctionCelery | FunctionPython | ProcessPython, *, field: str = "callable") -> Any:
    """The Python code of an entry, imported when it is first needed.

    Args:
        entry: The entry.
        field: Its field that says where the code is.

    Raises:
        RegistryError: The module or the name is not there, or it cannot be called.
    """
    named = str(getattr(entry, field))
    module_name, _, path = named.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        where = f"{entry.location.file}:{entry.location.line}"
        raise RegistryError(f"{where}: entry {entry.id}: field {field!r} = {named!r}: {error}") from error
    if not callable(found):
        raise RegistryError(f"entry {entry.id}: field {field!r} = {named!r}: it cannot be called")
    return found

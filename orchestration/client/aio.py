"""The same verbs for asyncio: each runs the synchronous one in a thread, so that there is one implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from celery import Celery

from orchestration.client.aio_processes import AsyncProcessVerbs
from orchestration.client.aio_schedules import AsyncScheduleHandle
from orchestration.client.client import Client
from orchestration.client.description import Description
from orchestration.client.handle import WorkflowHandle
from orchestration.client.listing import Filters, Where, WorkflowPage
from orchestration.client.options import RetryPolicy
from orchestration.client.schedules import ScheduleDescription
from orchestration.client.services import ServiceDescription
from orchestration.client.updates import Update
from orchestration.client.watching import Watch, pause_seconds
from orchestration.core import events
from orchestration.core.identity import Actor
from orchestration.core.schedule import ScheduleAction, SchedulePolicy, ScheduleSpec
from orchestration.health.audit import RunAudit
from orchestration.health.findings import Finding
from orchestration.tasks.copies import Preview
from orchestration.tasks.moving import Move
from orchestration.types import Pid

if TYPE_CHECKING:
    from orchestration.tasks.app import Orchestration

__all__ = ["AsyncClient", "AsyncWorkflowHandle"]


_Item = TypeVar("_Item")


async def _in_pages(make: Callable[[], Iterator[_Item]], *, size: int = 500) -> AsyncIterator[_Item]:
    """Read a blocking iterator a few items at a time, so that neither the loop waits nor all are in memory."""
    items = await asyncio.to_thread(make)
    while page := await asyncio.to_thread(lambda: list(islice(items, size))):
        for item in page:
            yield item


class AsyncWorkflowHandle:
    """A workflow, see :class:`~orchestration.client.WorkflowHandle`.

    Args:
        handle: The synchronous handle.
    """

    def __init__(self, handle: WorkflowHandle) -> None:
        self._handle = handle
        self.id = handle.id

    @property
    def namespace(self) -> str:
        """Namespace that it is kept in."""
        return self._handle.namespace

    async def run_id(self) -> str:
        """The run that is meant."""
        return await asyncio.to_thread(lambda: self._handle.run_id)

    async def pid(self) -> Pid:
        """Address that workflows and processes send to."""
        return await asyncio.to_thread(lambda: self._handle.pid)

    async def result(self, timeout: float | timedelta | None = None) -> Any:  # noqa: ASYNC109 - as its twin
        """Wait for the end and return the result."""
        return await asyncio.to_thread(self._handle.result, timeout)

    async def signal(self, topic: str, *payloads: Any, request_id: str | None = None) -> None:
        """Send a message to the workflow; stored when this returns."""
        await asyncio.to_thread(self._handle.signal, topic, *payloads, request_id=request_id)

    async def query(self, name: str, *args: Any, timeout: float | timedelta | None = 5.0) -> Any:  # noqa: ASYNC109 - as its twin
        """Ask the workflow something; answered from its history, no worker needed."""
        return await asyncio.to_thread(self._handle.query, name, *args, timeout=timeout)

    async def update(
        self,
        name: str,
        *args: Any,
        update_id: str | None = None,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - as its twin
    ) -> Any:
        """Ask the workflow to change, and wait for its answer."""
        return await asyncio.to_thread(self._handle.update, name, *args, update_id=update_id, timeout=timeout)

    async def cancel(self, reason: str = "", *, request_id: str | None = None) -> None:
        """Ask the workflow to end."""
        await asyncio.to_thread(self._handle.cancel, reason, request_id=request_id)

    async def terminate(self, reason: str = "") -> None:
        """End the workflow at once."""
        await asyncio.to_thread(self._handle.terminate, reason)

    async def retry(self) -> None:
        """Let a parked run try again."""
        await asyncio.to_thread(self._handle.retry)

    async def pause(self, note: str = "", *, by: str = "") -> None:
        """Let the workflow make no more steps."""
        await asyncio.to_thread(self._handle.pause, note, by=by)

    async def resume(self) -> None:
        """Let a paused workflow go on."""
        await asyncio.to_thread(self._handle.resume)

    async def upgrade(self, *, dry_run: bool = False) -> Move:
        """Move the run to the code that this application has, if that code fits the run's history."""
        return await asyncio.to_thread(self._handle.upgrade, dry_run=dry_run)

    async def reset(
        self, to_event: int | str, reason: str = "", *, signals: bool = True, new_code: bool = False
    ) -> AsyncWorkflowHandle:
        """Let a new run take the place of this one, from an event of its history on."""
        return AsyncWorkflowHandle(
            await asyncio.to_thread(self._handle.reset, to_event, reason, signals=signals, new_code=new_code)
        )

    async def fork(
        self, from_event: int | str = "last", *, id: str | None = None, edit: tuple[int, Any] | None = None,  # noqa: A002
        new_code: bool = False, force: bool = False,
    ) -> AsyncWorkflowHandle:  # fmt: skip
        """Make another workflow that begins with this one's history up to an event."""
        fork = self._handle.fork
        return AsyncWorkflowHandle(
            await asyncio.to_thread(fork, from_event, id=id, edit=edit, new_code=new_code, force=force)
        )

    async def preview(
        self, event: int | str = "last", *, edit: tuple[int, Any] | None = None, new_code: bool = False
    ) -> Preview:
        """Where a reset or fork would begin; nothing is written."""
        return await asyncio.to_thread(self._handle.preview, event, edit=edit, new_code=new_code)

    async def describe(self) -> Description:
        """Where it stands."""
        return await asyncio.to_thread(self._handle.describe)

    async def watch(self, *, every: float | timedelta = 1.0) -> AsyncIterator[Description]:
        """Where it stands, now and whenever that has changed, until it has ended. No thread waits between two looks."""
        pause_s = pause_seconds(every)
        watched = Watch(self._handle)
        while True:
            for seen in await asyncio.to_thread(lambda: list(watched.look())):
                yield seen
            if watched.is_over():
                return
            await asyncio.sleep(pause_s)

    async def history(self) -> AsyncIterator[events.Event]:
        """Its events, oldest first."""
        async for event in _in_pages(self._handle.history):
            yield event

    async def raw_history(self, *, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Its events as stored, for a replay elsewhere; see :meth:`WorkflowHandle.raw_history`."""
        async for event in _in_pages(partial(self._handle.raw_history, start=start, stop=stop)):
            yield event

    async def code(self) -> bytes | None:
        """The encoded code bundle that the run is pinned to; None when it is stored nowhere."""
        return await asyncio.to_thread(self._handle.code)


class AsyncClient(AsyncProcessVerbs):
    """Starts workflows and processes and finds them again, see :class:`~orchestration.client.Client`.

    Args:
        app: A Celery application with ``Orchestration(app)``, or that object itself.
        namespace: Of the workflows to be found; None: the application's.
    """

    def __init__(self, app: Celery | Orchestration, *, namespace: str | None = None) -> None:
        self._client: Client = Client(app, namespace=namespace)
        self._processes = self._client._processes

    @property
    def namespace(self) -> str:
        """Namespace in which workflows are found."""
        return self._client.namespace

    async def start_workflow(
        self,
        workflow_type: str,
        *args: Any,
        id: str | None = None,  # noqa: A002 - the word of the field
        request_id: str | None = None,
        id_conflict_policy: str = "fail",
        id_reuse_policy: str = "allow_duplicate",
        task_queue: str | None = None,
        run_timeout: timedelta | None = None,
        execution_timeout: timedelta | None = None,
        cancel_grace: timedelta | None = None,
        start_delay: timedelta | None = None,
        retry_policy: RetryPolicy | None = None,
        cron_schedule: str = "",
        search: Mapping[str, Any] | None = None,
        memo: Mapping[str, Any] | None = None,
        summary: str = "",
        details: str = "",
        context: Mapping[str, Any] | None = None,
        actor: Actor | None = None,
        scope: Sequence[str] | None = None,
        signals: Sequence[tuple[str, Sequence[Any]]] = (),
        update: Update | None = None,
    ) -> AsyncWorkflowHandle:
        """Start a workflow; it is stored when this returns. The options are those of :meth:`Client.start_workflow`."""
        start = partial(
            self._client.start_workflow, workflow_type, *args, id=id, request_id=request_id,
            id_conflict_policy=id_conflict_policy, id_reuse_policy=id_reuse_policy, task_queue=task_queue,
            run_timeout=run_timeout, execution_timeout=execution_timeout, cancel_grace=cancel_grace,
            start_delay=start_delay, retry_policy=retry_policy, cron_schedule=cron_schedule, search=search, memo=memo,
            summary=summary, details=details, context=context, actor=actor, scope=scope, signals=signals,
            update=update,
        )  # fmt: skip
        return AsyncWorkflowHandle(await asyncio.to_thread(start))

    async def execute_workflow(
        self, workflow_type: str, *args: Any, timeout: float | None = None, **options: Any  # noqa: ASYNC109 - as its twin
    ) -> Any:
        """Start a workflow and wait for its result."""
        execute = self._client.execute_workflow
        return await asyncio.to_thread(execute, workflow_type, *args, timeout=timeout, **options)

    def get_by_pid(self, pid: str) -> AsyncWorkflowHandle:
        """Handle of the workflow with an address."""
        return AsyncWorkflowHandle(self._client.get_by_pid(pid))

    async def signal_with_start(
        self, workflow_type: str, topic: str, payloads: Sequence[Any] = (), *, args: Sequence[Any] = (),
        id: str | None = None, id_conflict_policy: str = "use_existing", **options: Any,  # noqa: A002
    ) -> AsyncWorkflowHandle:  # fmt: skip
        """Send a message to a workflow, starting it if it is not open."""
        signal = partial(
            self._client.signal_with_start, workflow_type, topic, payloads, args=args, id=id,
            id_conflict_policy=id_conflict_policy, **options,
        )  # fmt: skip
        return AsyncWorkflowHandle(await asyncio.to_thread(signal))

    async def update_with_start(
        self, workflow_type: str, update: str, update_args: Sequence[Any] = (), *, args: Sequence[Any] = (),
        id: str | None = None, id_conflict_policy: str = "use_existing", update_id: str | None = None,  # noqa: A002
        timeout: float | timedelta | None = None, **options: Any,  # noqa: ASYNC109 - as its twin
    ) -> tuple[AsyncWorkflowHandle, Any]:  # fmt: skip
        """Ask a workflow to change and wait for its answer, starting it if it is not open."""
        call = partial(
            self._client.update_with_start, workflow_type, update, update_args, args=args, id=id,
            id_conflict_policy=id_conflict_policy, update_id=update_id, timeout=timeout, **options,
        )  # fmt: skip
        handle, answer = await asyncio.to_thread(call)
        return AsyncWorkflowHandle(handle), answer

    def get_workflow(self, id: str, run_id: str | None = None) -> AsyncWorkflowHandle:  # noqa: A002
        """Handle of a workflow."""
        return AsyncWorkflowHandle(self._client.get_workflow(id, run_id))

    async def list_workflows(
        self, where: Where = None, *, limit: int = 100, page_size: int | None = None, cursor: str = "",
        **filters: Unpack[Filters],
    ) -> WorkflowPage:  # fmt: skip
        """Runs, the latest first, see :meth:`Client.list_workflows`."""
        list_workflows = self._client.list_workflows
        return await asyncio.to_thread(
            list_workflows, where, limit=limit, page_size=page_size, cursor=cursor, **filters
        )

    async def each_workflow(self, where: Where = None, **filters: Unpack[Filters]) -> AsyncIterator[Description]:
        """Every run like that, the latest first, read page by page."""
        cursor = ""
        while True:
            page = await self.list_workflows(where, page_size=200, cursor=cursor, **filters)
            for description in page:
                yield description
            cursor = page.cursor
            if not cursor:
                return

    async def check_running(self, *, type: str | None = None) -> AsyncIterator[Move]:  # noqa: A002
        """Replay the history of every open run against the code that this application has; nothing is written."""
        async for move in _in_pages(partial(self._client.check_running, type=type), size=1):
            yield move

    async def count_parked(self) -> dict[str, int]:
        """Number of parked runs by the kind of what keeps them."""
        return await asyncio.to_thread(self._client.count_parked)

    async def count_workflows(
        self, where: Where = None, *, by: str = "group", **filters: Unpack[Filters]
    ) -> dict[str, int]:
        """Numbers of runs that are kept, see :meth:`Client.count_workflows`."""
        return await asyncio.to_thread(self._client.count_workflows, where, by=by, **filters)

    async def create_schedule(
        self, id: str, *, spec: ScheduleSpec, action: ScheduleAction, policy: SchedulePolicy | None = None,  # noqa: A002
        paused: bool = False, note: str = "",
    ) -> AsyncScheduleHandle:  # fmt: skip
        """Make a schedule."""
        create = partial(
            self._client.create_schedule, id, spec=spec, action=action, policy=policy, paused=paused, note=note
        )
        return AsyncScheduleHandle(await asyncio.to_thread(create))

    def get_schedule(self, id: str) -> AsyncScheduleHandle:  # noqa: A002
        """Handle of a schedule."""
        return AsyncScheduleHandle(self._client.get_schedule(id))

    async def list_schedules(
        self, *, prefix: str = "", after: str = "", limit: int = 100
    ) -> list[ScheduleDescription]:
        """Schedules in the order of their ids."""
        return await asyncio.to_thread(self._client.list_schedules, prefix=prefix, after=after, limit=limit)

    async def list_services(self) -> list[ServiceDescription]:
        """Supervised services in the order of their ids."""
        return await asyncio.to_thread(self._client.list_services)

    async def start_service(
        self, id: str, *, wait: bool = False, timeout: float | timedelta | None = None  # noqa: A002, ASYNC109 - as its twin
    ) -> None:
        """Let a service run from now on."""
        await asyncio.to_thread(self._client.start_service, id, wait=wait, timeout=timeout)

    async def stop_service(
        self, id: str, *, wait: bool = False, timeout: float | timedelta | None = None  # noqa: A002, ASYNC109 - as its twin
    ) -> None:
        """Stop a service and keep it stopped until it is started again."""
        await asyncio.to_thread(self._client.stop_service, id, wait=wait, timeout=timeout)

    async def restart_service(
        self, id: str, *, wait: bool = False, timeout: float | timedelta | None = None  # noqa: A002, ASYNC109 - as its twin
    ) -> None:
        """Stop a service, if it runs, and start it."""
        await asyncio.to_thread(self._client.restart_service, id, wait=wait, timeout=timeout)

    async def forget_service(self, id: str) -> bool:  # noqa: A002
        """Remove what is kept of a service, the wishes of operators included."""
        return await asyncio.to_thread(self._client.forget_service, id)

    async def doctor(self, only: Sequence[str] = (), *, timeout: float = 8.0) -> AsyncIterator[Finding]:  # noqa: ASYNC109 - as its twin
        """Look at all that the deployment stands on, see :meth:`Client.doctor`."""
        async for finding in _in_pages(partial(self._client.doctor, only, timeout=timeout), size=1):
            yield finding

    async def audit(self, ids: Sequence[str] = (), *, repair: bool = False) -> AsyncIterator[RunAudit]:
        """Check that every open run has something that will move it, see :meth:`Client.audit`."""
        async for audit in _in_pages(partial(self._client.audit, ids, repair=repair)):
            yield audit

    async def complete_activity(self, token: str, result: Any = None) -> None:
        """Give an activity its result, from anywhere."""
        await asyncio.to_thread(self._client.complete_activity, token, result)

    async def fail_activity(self, token: str, error: BaseException | str) -> None:
        """Report that an activity attempt has failed."""
        await asyncio.to_thread(self._client.fail_activity, token, error)

    async def heartbeat_activity(self, token: str, details: Any = None) -> None:
        """Say that somebody is at work on an activity."""
        await asyncio.to_thread(self._client.heartbeat_activity, token, details)

    async def call(
        self, function_id: str, *args: Any, timeout: float | None = None,  # noqa: ASYNC109 - as its twin
        actor: Actor | None = None, scope: Sequence[str] | None = None,
    ) -> Any:  # fmt: skip
        """Call a function on a worker and wait for its result."""
        call = self._client.call
        return await asyncio.to_thread(call, function_id, *args, timeout=timeout, actor=actor, scope=scope)

"""The synchronous client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

from celery import Celery

from orchestration.client.activity_verbs import ActivityVerbs
from orchestration.client.arguments import check_topic, value_list, wait_seconds
from orchestration.client.description import Description
from orchestration.client.handle import WorkflowHandle
from orchestration.client.health_verbs import HealthVerbs
from orchestration.client.identity import identity_of
from orchestration.client.listing import (
    Filters,
    Where,
    WorkflowPage,
    conditions_of,
    count_runs,
    each_run,
    list_runs,
    page_of_runs,
)
from orchestration.client.options import RetryPolicy
from orchestration.client.process_verbs import ProcessVerbs
from orchestration.client.processes import Processes, is_process
from orchestration.client.schedule_verbs import ScheduleVerbs
from orchestration.client.service_verbs import ServiceVerbs
from orchestration.client.starting import start_request
from orchestration.client.updates import Update, await_update, make_update, send_update
from orchestration.core.checks import check_text
from orchestration.core.identity import Actor
from orchestration.core.pid import parse_pid
from orchestration.errors import ConfigError, OrchestrationError, WorkflowNotFoundError
from orchestration.registry.kinds.functions import FunctionCelery
from orchestration.tasks.messages import IDENTITY, RESUME_TASK
from orchestration.tasks.moving import Move, check_run
from orchestration.tasks.starts import start
from orchestration.types import Pid, RunId

if TYPE_CHECKING:
    from orchestration.tasks.app import Orchestration

__all__ = ["Client"]


class Client(ProcessVerbs, ScheduleVerbs, ServiceVerbs, ActivityVerbs, HealthVerbs):
    """Starts workflows and processes and finds them again.

    Args:
        app: A Celery application with ``Orchestration(app)``, or that object itself.
        namespace: Of the workflows to be found; None: the application's.

    Raises:
        ConfigError: The application has no ``Orchestration``.
    """

    def __init__(self, app: Celery | Orchestration, *, namespace: str | None = None) -> None:
        super().__init__(app, namespace=namespace)
        self._processes = Processes(lambda: self._runtime)

    def start_workflow(
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
    ) -> WorkflowHandle:
        """Start a workflow; it is stored when this returns.

        Args:
            workflow_type: Entry id, or the type name that the entry declares. With ``task_queue`` its code may be
                unknown here: the worker that takes it up has it.
            args: Arguments of its main function.
            id: Its name, 1 to 255 bytes without control characters; None: a new UUID.
            request_id: The same request never starts a second run; give one when you may repeat the call.
            id_conflict_policy: When a run of the id is open: ``fail``, ``use_existing`` or ``terminate_existing``.
            id_reuse_policy: When one has ended: ``allow_duplicate``, ``allow_duplicate_failed_only`` or
                ``reject_duplicate``; ``terminate_if_running`` ends an open one.
            task_queue: Another queue than the entry's.
            run_timeout: After which a run is ended; None for never.
            execution_timeout: After which the workflow is ended, all its runs together; None for never.
            cancel_grace: Before one of these two ends a run, ask it to cancel and give it this long.
            start_delay: After which it begins.
            retry_policy: By which a failed run is followed by another; None: it is not.
            cron_schedule: By which a run that has ended is followed by another, at the next time of the schedule; the
                first waits for it too. Five fields, or a word such as ``@daily``; ``CRON_TZ=Europe/Madrid`` may stand
                before them.
            search: Search attributes: texts, booleans, numbers, lists of texts.
            memo: What else is to be shown of it.
            summary: A line for people.
            details: More for people.
            context: Context values, read with ``ctx`` in Lua.
            actor: In whose name it runs, and all that it calls and starts; None: nobody's.
            scope: Ids of the policies, or groups of policies, that say what it may do; None: no scope. Policies decide
                only when there is an actor and a scope.
            signals: Startup messages, topic and payloads, delivered with the start.
            update: A first update, delivered with the start, after them; see :meth:`update_with_start`.

        Returns:
            Handle of the run; with ``use_existing`` of the one that is open.

        Raises:
            EntryNotFoundError: No workflow has this type; the message names ids that are close.
            WorkflowAlreadyStartedError: The policies refuse another run of this id.
            EncodeError: An argument cannot be carried; the message has its path.
            PayloadTooLargeError: The arguments are above the limit.
            TypeError: An option is of another type than it says above.
            ValueError: The id, a policy, a schedule, a duration or an attribute is none.
            InboxFullError: The open run is used, and its inbox is full.
            ConfigError: ``task_create_missing_queues`` is off, and ``task_queues`` does not have the task queue.
            StoreUnavailableError: Redis does not answer.
        """
        runtime = self._runtime
        wanted = start_request(
            runtime.settings, runtime.registry, workflow_type, args, id=id, request_id=request_id,
            id_conflict_policy=id_conflict_policy, id_reuse_policy=id_reuse_policy, task_queue=task_queue,
            run_timeout=run_timeout, execution_timeout=execution_timeout, cancel_grace=cancel_grace,
            start_delay=start_delay, retry_policy=retry_policy, cron_schedule=cron_schedule, search=search, memo=memo,
            summary=summary, details=details, context=context, actor=actor, scope=scope, signals=signals,
            update=update,
        )  # fmt: skip
        if task_queue is not None and (refused := runtime.messages.refusal(RESUME_TASK, task_queue)):
            raise ConfigError(f"workflow {wanted.workflow_id} is not started: {refused}")
        started = start(runtime, wanted)
        if update and started.status == "duplicate":  # an earlier call started it, maybe with another update
            send_update(runtime, started.namespace, started.run_id, update, workflow_id=started.workflow_id)
        return WorkflowHandle(runtime, started.namespace, started.workflow_id, started.run_id, started.pid)

    def execute_workflow(self, workflow_type: str, *args: Any, timeout: float | None = None, **options: Any) -> Any:
        """Start a workflow and wait for its result.

        Args:
            workflow_type: As for :meth:`start_workflow`.
            args: Arguments of its main function.
            timeout: Longest wait in seconds; None waits for ever. The workflow goes on when it is over.
            options: As for :meth:`start_workflow`.

        Raises:
            WorkflowFailedError: It ended with an error.
            TimeoutError: It has not ended yet.
        """
        return self.start_workflow(workflow_type, *args, **options).result(timeout)

    def get_by_pid(self, pid: str) -> WorkflowHandle:
        """Handle of the workflow with an address.

        Args:
            pid: As ``handle.pid`` and ``process.pid()`` give it.

        Raises:
            WorkflowNotFoundError: The text is no address.
        """
        parsed = parse_pid(check_text("an address", pid))
        if parsed is None:
            raise WorkflowNotFoundError(f"{pid!r} is no address: it is written {{node@host|id}}")
        if is_process(pid):
            raise WorkflowNotFoundError(f"{pid!r} is the address of a process: take get_process")
        return WorkflowHandle(self._runtime, self.namespace, parsed.unique, None, Pid(pid))

    def signal_with_start(
        self, workflow_type: str, topic: str, payloads: Sequence[Any] = (), *, args: Sequence[Any] = (),
        id: str | None = None, id_conflict_policy: str = "use_existing", **options: Any,  # noqa: A002
    ) -> WorkflowHandle:  # fmt: skip
        """Send a message to a workflow, starting it if it is not open: a new run has the message from its beginning.

        Args:
            workflow_type: Entry id, or the type name that the entry declares.
            topic: Name of the message.
            payloads: Its values.
            args: Arguments of the main function of a new run.
            id: Its name.
            id_conflict_policy: When a run of the id is open; ``use_existing`` sends the message to it.
            options: Others of :meth:`start_workflow`, which says what is raised.

        Returns:
            Handle of the run that has the message.

        Raises:
            ValueError: The topic is empty or begins with ``@``.
        """
        check_topic(topic)
        return self.start_workflow(
            workflow_type, *args, id=id, id_conflict_policy=id_conflict_policy, signals=[(topic, payloads)], **options
        )

    def update_with_start(
        self, workflow_type: str, update: str, update_args: Sequence[Any] = (), *, args: Sequence[Any] = (),
        id: str | None = None, id_conflict_policy: str = "use_existing", update_id: str | None = None,  # noqa: A002
        timeout: float | timedelta | None = None, **options: Any,
    ) -> tuple[WorkflowHandle, Any]:  # fmt: skip
        """Ask a workflow to change and wait for its answer, starting it if it is not open.

        A new run and its first update are stored together: there is no run that was started and not asked.

        Args:
            workflow_type: Entry id, or the type name that the entry declares.
            update: Name of the update; the code registers it before it first waits.
            update_args: Its arguments.
            args: Arguments of the main function of a new run.
            id: Its name.
            id_conflict_policy: When a run of the id is open; ``use_existing`` asks that one.
            update_id: The same id in the same run is carried out once; None: the ``request_id``, else a new one.
            timeout: Longest wait for the answer, in seconds or as a timedelta; None waits for ever.
            options: Others of :meth:`start_workflow`, which says what is raised when it cannot be started;
                :meth:`WorkflowHandle.update` says the rest.

        Returns:
            Handle of the run, and what the update's function returned.
        """
        runtime = self._runtime
        seconds = wait_seconds(timeout)
        update_id = update_id if update_id is not None else options.get("request_id")
        wanted = make_update(runtime, update, value_list("the arguments of an update", update_args), update_id)
        handle = self.start_workflow(
            workflow_type, *args, id=id, id_conflict_policy=id_conflict_policy, update=wanted, **options
        )
        answer = await_update(
            runtime, handle.namespace, handle.run_id, wanted, workflow_id=handle.id, timeout_s=seconds
        )
        return handle, answer

    def get_workflow(self, id: str, run_id: str | None = None) -> WorkflowHandle:  # noqa: A002
        """Handle of a workflow; whether it exists is seen at the first call on it.

        Args:
            id: Its name.
            run_id: One run of it; None: the latest.
        """
        check_text("a workflow id", id)
        if run_id is not None:
            check_text("a run id", run_id)
        return WorkflowHandle(self._runtime, self.namespace, id, RunId(run_id) if run_id else None)

    def list_workflows(
        self, where: Where = None, *, limit: int = 100, page_size: int | None = None, cursor: str = "",
        **filters: Unpack[Filters],
    ) -> WorkflowPage:  # fmt: skip
        """Runs, the latest first. What a run was given and what it returned is not read.

        Args:
            where: Conditions combined by ``and``, as text (``'status = "failed" and amount > 100'``) or as a list of
                :class:`~orchestration.client.Condition`; docs/reference/cli.md has the language.
            limit: Most runs returned; as much is read as that takes.
            page_size: Instead of ``limit``: one page of at most so many, 1 to 1,000, at a bounded cost. It may be short
                and have a cursor: the next page goes on.
            cursor: Of the list before, to go on after it.
            **filters: More conditions, see :class:`~orchestration.client.listing.Filters`.

        Returns:
            The runs; its ``cursor`` is empty when there are no more.

        Raises:
            ValueError: A condition cannot be read or asked; the message says where. Or the cursor is none.
        """
        store, settings = self._runtime.store(self.namespace), self._runtime.settings
        conditions = conditions_of(where, **filters)
        if page_size is not None:
            return page_of_runs(store, self.namespace, settings, conditions, page_size=page_size, cursor=cursor)
        return list_runs(store, self.namespace, settings, conditions, limit=limit, cursor=cursor)

    def each_workflow(self, where: Where = None, **filters: Unpack[Filters]) -> Iterator[Description]:
        """Every run like that, the latest first, read page by page: for work on many, however many there are.

        Args:
            where: As for :meth:`list_workflows`.
            **filters: The same.
        """
        conditions = conditions_of(where, **filters)
        runtime, namespace = self._runtime, self.namespace
        return each_run(runtime.store(namespace), namespace, runtime.settings, conditions)

    def check_running(self, *, type: str | None = None) -> Iterator[Move]:  # noqa: A002
        """Replay the history of every open run against the code that this application has; nothing is written.

        Args:
            type: Only runs of this entry id.

        Returns:
            What would become of each run, one after the other; few of them are in memory at once.
        """
        store = self._runtime.store(self.namespace)
        for page in store.runs.pages("open"):
            for record in store.runs.records(page):
                if type in (None, record.fields["type"]):
                    yield check_run(self._runtime, store, record)

    def count_parked(self) -> dict[str, int]:
        """Number of parked runs by the kind of what keeps them: non-determinism, limit, bundle, history, engine."""
        return self._runtime.store(self.namespace).runs.parked_kinds()

    def count_workflows(self, where: Where = None, *, by: str = "group", **filters: Unpack[Filters]) -> dict[str, int]:
        """Numbers of runs that are kept.

        Args:
            where: As for :meth:`list_workflows`.
            by: ``group``: open, parked (which are among the open) and closed; ``status`` or ``type``: each there is.
            **filters: As for :meth:`list_workflows`.

        Returns:
            Number by name.

        Raises:
            ValueError: A condition cannot be read or asked; the message says where.
        """
        return count_runs(self._runtime.store(self.namespace), conditions_of(where, **filters), by)

    def call(
        self, function_id: str, *args: Any, timeout: float | None = None, actor: Actor | None = None,
        scope: Sequence[str] | None = None,
    ) -> Any:  # fmt: skip
        """Call a function on a worker and wait for its result.

        Args:
            function_id: Entry id of a function, or of a process with a ``default_host``.
            args: Its arguments.
            timeout: Longest wait in seconds; None waits for ever.
            actor: In whose name it runs, see :meth:`start_workflow`.
            scope: What it may do.

        Raises:
            EntryNotFoundError: No entry has this id.
            ValueError: There is no such policy.
            ApplicationError: It returned or raised an error.
            celery.exceptions.TimeoutError: No result in time.
        """
        runtime = self._runtime
        entry = runtime.registry.get(check_text("a function id", function_id))
        if not entry.kind.startswith("function.") and not getattr(entry, "default_host", None):
            is_process = entry.kind.startswith("process.")
            how = "spawn it, or give it a 'meta.default_host'" if is_process else "start it instead"
            raise OrchestrationError(f"{function_id} is a {entry.kind}, not a function: {how}")
        task, given, keywords = function_id, list(args), dict[str, Any]()
        if isinstance(entry, FunctionCelery):
            task, (given, keywords) = entry.task_name, entry.arguments(args)
        queue = runtime.registry.task_queue(function_id)
        options: dict[str, Any] = {"queue": queue} if queue else {}
        identity = identity_of(runtime.registry.policies, actor, scope).fields()
        if identity:
            options["headers"] = {IDENTITY: identity}
        result = runtime.app.send_task(task, args=given, kwargs=keywords, **options)
        try:
            return result.get(timeout=timeout)
        finally:
            result.backend.remove_pending_result(result)  # else its subscription lives as long as the process

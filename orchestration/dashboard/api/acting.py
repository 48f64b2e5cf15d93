"""Routes that act on runs, schedules and services."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from orchestration.client import WorkflowHandle
from orchestration.dashboard.access import ApiHandler
from orchestration.dashboard.api.operations import NAMESPACE, RUN, TEXT, operation
from orchestration.errors import OrchestrationError, StoreUnavailableError

__all__ = [
    "CancelApi", "PauseApi", "ReleaseApi", "ResetApi", "ResumeApi", "RetryApi", "ScheduleVerbApi", "ServiceVerbApi",
    "SignalApi", "TerminateApi",
]  # fmt: skip

_REASON: Final = {"reason": {**TEXT, "description": "Why; kept with the run."}}
_OF_RUN: Final[dict[str, Any]] = {"query": (RUN, NAMESPACE), "answer": "The run and its status now."}


class _RunAction(ApiHandler):
    """Does something to a run and says where it stands then."""

    def act(self, handle: WorkflowHandle, body: dict[str, Any]) -> WorkflowHandle | None:
        """Do it; the run that is answered for, when it is another."""
        raise NotImplementedError

    async def perform(self, workflow_id: str) -> None:
        """Find the run, do it, answer."""
        body = self.body()

        def run() -> dict[str, Any]:
            handle, _ = self.reader.find(workflow_id, self.text("run"), self.text("namespace"))
            after = self.act(handle, body) or handle
            return {
                "workflow_id": after.id, "run_id": after.run_id, "namespace": after.namespace,
                "status": after.describe().status,
            }  # fmt: skip

        self.answer(await self.in_thread(run))

    def because(self, body: dict[str, Any], name: str = "reason") -> str:
        """The reason that was given, and who gave it."""
        given, user = body.get(name, ""), self.user
        return f"{given} ({user})" if given and user else given or (f"by {user}" if user else "")


class SignalApi(_RunAction):
    """``/api/workflows/runs/{id}/signal``"""

    @operation(
        summary="Send a message to a workflow", required=("topic",),
        body={
            "topic": {"type": "string", "minLength": 1}, "payloads": {"type": "array"},
            "request_id": {**TEXT, "description": "The same id delivers once, for a day."},
        },
        **_OF_RUN,
    )  # fmt: skip
    async def post(self, workflow_id: str) -> None:
        """Signal it."""
        await self.perform(workflow_id)

    def act(self, handle: WorkflowHandle, body: dict[str, Any]) -> None:
        """Send it."""
        handle.signal(body["topic"], *body.get("payloads", []), request_id=body.get("request_id"))


class CancelApi(_RunAction):
    """``/api/workflows/runs/{id}/cancel``"""

    @operation(summary="Ask a workflow to end", body=_REASON, **_OF_RUN)
    async def post(self, workflow_id: str) -> None:
        """Cancel it."""
        await self.perform(workflow_id)

    def act(self, handle: WorkflowHandle, body: dict[str, Any]) -> None:
        """Ask it."""
        handle.cancel(self.because(body))


class TerminateApi(_RunAction):
    """``/api/workflows/runs/{id}/terminate``"""

    @operation(summary="End a workflow at once", body=_REASON, **_OF_RUN)
    async def post(self, workflow_id: str) -> None:
        """Terminate it."""
        await self.perform(workflow_id)

    def act(self, handle: WorkflowHandle, body: dict[str, Any]) -> None:
        """End it."""
        handle.terminate(self.because(body))


class RetryApi(_RunAction):
    """``/api/workflows/runs/{id}/retry``"""

    @operation(summary="Let a parked run try again", body={}, **_OF_RUN)
    async def post(self, workflow_id: str) -> None:
        """Retry it."""
        await self.perform(workflow_id)

    def act(self, handle: WorkflowHandle, body: dict[str, Any]) -> None:
        """Let it."""
        del body
        handle.retry()


class PauseApi(_RunAction):
    """``/api/workflows/runs/{id}/pause``"""

    @operation(summary="Let a workflow make no more steps", body={"note": TEXT}, **_OF_RUN)
    async def post(self, workflow_id: str) -> None:
        """Pause it."""
        await self.perform(workflow_id)

    def act(self, handle: WorkflowHandle, body: dict[str, Any]) -> None:
        """Stop it for a while."""
        handle.pause(body.get("note", ""), by=self.user)


class ResumeApi(_RunAction):
    """``/api/workflows/runs/{id}/resume``"""

    @operation(summary="Let a paused workflow go on", body={}, **_OF_RUN)
    async def post(self, workflow_id: str) -> None:
        """Resume it."""
        await self.perform(workflow_id)

    def act(self, handle: WorkflowHandle, body: dict[str, Any]) -> None:
        """Let it."""
        del body
        handle.resume()


class ResetApi(_RunAction):
    """``/api/workflows/runs/{id}/reset``"""

    @operation(
        summary="Let a new run take the place of this one, from an event of its history on",
        required=("to_event",),
        body={
            "to_event": {
                "type": ["integer", "string"],
                "description": "Number of an input, or `start`, `last`, `first-failure`, `last-activity`.",
            },
            **_REASON,
            "signals": {"type": "boolean", "default": True},
            "new_code": {"type": "boolean", "default": False},
        },
        query=(RUN, NAMESPACE),
        answer="The new run.",
    )
    async def post(self, workflow_id: str) -> None:
        """Reset it."""
        await self.perform(workflow_id)

    def act(self, handle: WorkflowHandle, body: dict[str, Any]) -> WorkflowHandle:
        """Make the new run."""
        to = body["to_event"]
        to = int(to) if isinstance(to, str) and to.isascii() and to.isdigit() else to
        return handle.reset(
            to, self.because(body), signals=body.get("signals", True), new_code=body.get("new_code", False)
        )


class ReleaseApi(ApiHandler):
    """``/api/workflows/release``"""

    @operation(
        summary="Let some parked runs try again; call it again with the cursor for more, as fast as you like",
        body={
            "kind": {**TEXT, "description": "Only those that this keeps: limit, non-determinism, bundle, ..."},
            "type": {**TEXT, "description": "Only runs of this entry."},
            "where": {**TEXT, "description": "Only runs that these conditions select."},
            "namespace": TEXT,
            "cursor": {**TEXT, "description": "Of the answer before. A run that parks again is not met again."},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
        },
        answer="What was let go, what could not be, and the cursor; it is empty when all have been looked at.",
    )
    async def post(self) -> None:
        """Release them."""
        body = self.body()
        self.answer(await self.in_thread(self._release, body))

    def _release(self, body: dict[str, Any]) -> dict[str, Any]:
        kind, namespace = body.get("kind", ""), body.get("namespace", "")
        page = self.reader.page(
            body.get("where", ""), {"status": "parked", "type": body.get("type") or None},
            size=body.get("limit", 10), cursor=body.get("cursor", ""), namespace=namespace,
        )  # fmt: skip
        released, failed = [], []
        for seen in page:
            if kind and seen.parked.partition(":")[0] != kind:
                continue
            facts = {"workflow_id": seen.workflow_id, "run_id": seen.run_id}
            try:
                self.reader.client(seen.namespace).get_workflow(seen.workflow_id, seen.run_id).retry()
                released.append(facts)
            except StoreUnavailableError:
                raise
            except OrchestrationError as error:  # it has ended, or somebody else was faster
                failed.append({**facts, "error": str(error)})
        return {"released": released, "failed": failed, "cursor": page.cursor}


class ScheduleVerbApi(ApiHandler):
    """``/api/workflows/schedules/{id}/{verb}``"""

    VERBS: ClassVar = ("pause", "resume", "trigger")

    @operation(
        summary="Pause, resume or trigger a schedule", query=(NAMESPACE,),
        body={"note": {**TEXT, "description": "Why, for people. Not with trigger."}}, answer="The schedule's state.",
    )  # fmt: skip
    async def post(self, schedule_id: str, verb: str) -> None:
        """Do it."""
        body = self.body()
        note = body.get("note", "")
        user = self.user

        def run() -> dict[str, Any]:
            handle, _ = self.reader.schedule(schedule_id, self.text("namespace"))
            if verb == "trigger":
                handle.trigger()
            elif verb == "pause":
                handle.pause(f"{note} ({user})" if note and user else note or (f"by {user}" if user else ""))
            else:
                handle.resume(note)
            return {"id": schedule_id, "paused": handle.describe().paused}

        self.answer(await self.in_thread(run))


class ServiceVerbApi(ApiHandler):
    """``/api/workflows/services/{id}/{verb}``"""

    VERBS: ClassVar = ("start", "stop", "restart")

    @operation(summary="Start, stop or restart a service", body={}, status=202,
               answer="What was asked for; workers act on it.")  # fmt: skip
    async def post(self, service_id: str, verb: str) -> None:
        """Ask for it."""
        self.body()

        def run() -> None:
            client = self.reader.client()
            {"start": client.start_service, "stop": client.stop_service, "restart": client.restart_service}[verb](
                service_id
            )

        await self.in_thread(run)
        self.answer({"id": service_id, "asked": verb}, 202)

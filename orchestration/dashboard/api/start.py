"""The route that starts workflows."""

from __future__ import annotations

from typing import Any, Final

from orchestration.core.durations import parse_duration_ms
from orchestration.dashboard.access import ApiHandler
from orchestration.dashboard.api.operations import TEXT, operation

__all__ = ["Starting"]

_ATTRIBUTES: Final = {"type": "object"}
_BODY: Final = {
    "type": {"type": "string", "minLength": 1, "description": "Entry id, or the type name that the entry declares."},
    "args": {"type": "array", "description": "Arguments of its main function."},
    "id": {**TEXT, "description": "Workflow id. Left out: a new UUID."},
    "request_id": {**TEXT, "description": "The same request never starts a second run."},
    "id_conflict_policy": {"enum": ["fail", "use_existing", "terminate_existing"], "default": "fail"},
    "id_reuse_policy": {
        "enum": ["allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate", "terminate_if_running"],
        "default": "allow_duplicate",
    },
    "task_queue": {**TEXT, "description": "Another queue than the entry's."},
    "start_delay": {**TEXT, "description": "After which it begins, such as `10m`."},
    "summary": TEXT, "search": _ATTRIBUTES, "memo": _ATTRIBUTES, "namespace": TEXT,
}  # fmt: skip


class Starting(ApiHandler):
    """Starts workflows; the route reads, too."""

    @operation(
        summary="Start a workflow", body=_BODY, required=("type",), status=201,
        answer="What was started; with `use_existing` the run that is open.",
    )
    async def post(self) -> None:
        """Start a workflow."""
        body = self.body()

        def start() -> dict[str, Any]:
            import datetime as dt

            options = {name: value for name, value in body.items() if name not in ("type", "args", "namespace")}
            if "start_delay" in options:
                options["start_delay"] = dt.timedelta(milliseconds=parse_duration_ms(options["start_delay"]))
            handle = self.reader.client(body.get("namespace")).start_workflow(
                body["type"], *body.get("args", []), **options
            )
            return {"workflow_id": handle.id, "run_id": handle.run_id, "namespace": handle.namespace}

        self.answer(await self.in_thread(start), 201)

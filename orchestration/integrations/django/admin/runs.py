"""Runs in the admin: a list, a page for each, and what may be done to them."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_GET, require_POST

from orchestration.client import Client, WorkflowHandle
from orchestration.core.json_values import read_json
from orchestration.errors import NondeterminismError, OrchestrationError, StoreUnavailableError, WorkflowNotFoundError
from orchestration.integrations.django.admin.reading import PERIODS, STATES, list_page, run_page
from orchestration.integrations.django.models import Run
from orchestration.integrations.django.sending import prompt_client, prompt_runtime
from orchestration.registry.kinds.lua import WorkflowLua

__all__ = ["RunAdmin"]

Act = Callable[[WorkflowHandle, dict[str, str], str], str]


class RefusedError(Exception):
    """What was asked for cannot be done; the message is for the person who asked."""


def _signal(handle: WorkflowHandle, given: dict[str, str], _by: str) -> str:
    payloads = [_json(given["value"], "The value")] if given["value"].strip() else []
    handle.signal(given["topic"], *payloads)
    return f"Signal {given['topic']!r} has been sent."


def _cancel(handle: WorkflowHandle, given: dict[str, str], _by: str) -> str:
    handle.cancel(given["reason"])
    return "The workflow has been asked to end."


def _terminate(handle: WorkflowHandle, given: dict[str, str], _by: str) -> str:
    handle.terminate(given["reason"])
    return "The workflow has been ended."


def _pause(handle: WorkflowHandle, given: dict[str, str], by: str) -> str:
    handle.pause(given["reason"], by=by)
    return "The workflow is paused."


def _resume(handle: WorkflowHandle, given: dict[str, str], _by: str) -> str:
    del given
    handle.resume()
    return "The workflow goes on."


def _retry(handle: WorkflowHandle, given: dict[str, str], _by: str) -> str:
    del given
    handle.retry()
    return "The workflow tries again."


def _reset(handle: WorkflowHandle, given: dict[str, str], by: str) -> str:
    event = _number(given["event"])
    handle.reset(given["event"] if event is None else event, given["reason"] or f"by {by}")
    return "A new run has taken the place of this one."


_ACTS: Final[dict[str, tuple[str, Act]]] = {
    "signal": ("signal_run", _signal), "cancel": ("cancel_run", _cancel), "terminate": ("terminate_run", _terminate),
    "pause": ("pause_run", _pause), "resume": ("pause_run", _resume), "retry": ("retry_run", _retry),
    "reset": ("reset_run", _reset),
}  # fmt: skip
"""The permission that each needs, and what it does."""

_MOST_DIGITS: Final = 12
_FIELDS: Final = ("topic", "value", "reason", "event")


class RunAdmin(admin.ModelAdmin):
    """Pages about runs. They read Redis alone: the model has no table."""

    def get_urls(self) -> list[Any]:
        """The list, a page of one run, actions, starts."""
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="orchestration_run_changelist"),
            path("show/", view(self.show_view), name="orchestration_run_show"),
            path("act/", view(self.act_view), name="orchestration_run_act"),
            path("start/", view(self.start_view), name="orchestration_run_start"),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Runs are started on a page of their own."""
        del request
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Runs are not changed; what may be done to them has permissions of its own."""
        del request, obj
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Runs are deleted by the retention alone."""
        del request, obj
        return False

    @method_decorator(require_GET)
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponseBase:
        """The list of runs."""
        del extra_context
        self._need(request, "view_run")
        names = ("namespace", "status", "type", "q", "since", "where", "cursor")
        asked = {name: request.GET.get(name, "").strip() for name in names}
        context: dict[str, Any] = {"asked": asked, "states": STATES, "periods": PERIODS, "runs": [], "counts": {}}
        status = 200
        try:
            context["namespaces"] = prompt_runtime().namespaces
            context |= list_page(self._client(asked["namespace"]), asked)
        except (ValueError, TypeError) as error:
            context["problem"], status = str(error), 400
        except OrchestrationError as error:
            context["problem"], status = str(error), 503 if isinstance(error, StoreUnavailableError) else 400
        context["next"] = self._url("changelist", {**asked, "cursor": context.get("cursor", "")})
        for seen in context["runs"]:
            seen_url = self._url("show", _address(seen.namespace, seen.workflow_id, seen.run_id))
            context.setdefault("rows", []).append((seen, seen_url, _moment(seen.started_ms), _moment(seen.closed_ms)))
        context["may_start"] = request.user.has_perm("orchestration.start_run")
        return self._page(request, "list", "Runs of workflows", context, status)

    @method_decorator(require_GET)
    def show_view(self, request: HttpRequest) -> HttpResponseBase:
        """The page of one run."""
        self._need(request, "view_run")
        with_data = request.user.has_perm("orchestration.view_run_data")
        try:
            handle = self._handle(request.GET)
            page = run_page(handle, after=_number(request.GET.get("after", "")), with_data=with_data)
        except WorkflowNotFoundError as error:
            return self._page(request, "run", "Run", {"problem": str(error)}, 404)
        except OrchestrationError as error:
            return self._page(request, "run", "Run", {"problem": str(error)}, 503)
        seen = page.seen
        address = _address(seen.namespace, seen.workflow_id, seen.run_id)
        context = {
            "page": page, "seen": seen, "with_data": with_data, "address": address, "events": _EVENT_NAMES,
            "started": _moment(seen.started_ms), "closed": _moment(seen.closed_ms),
            "places": [(place, _moment(place.since_ms)) for place in seen.places],
            "earlier": None if page.earlier is None else self._url("show", {**address, "after": page.earlier}),
            "later": None if page.later is None else self._url("show", {**address, "after": page.later}),
            "groups": [
                (
                    group.title,
                    [
                        (row, self._url("show", _address(seen.namespace, row.link)) if row.link else "")
                        for row in group.rows
                    ],
                )
                for group in (page.picture.groups if page.picture else ())
            ],
            "following": seen.next_run_id
            and self._url("show", _address(seen.namespace, seen.workflow_id, seen.next_run_id)),
            "may": {act for act, (needed, _) in _ACTS.items() if request.user.has_perm(f"orchestration.{needed}")},
            "is_open": not seen.closed_ms,
        }  # fmt: skip
        return self._page(request, "run", seen.workflow_id, context, 200)

    @method_decorator(require_POST)
    def act_view(self, request: HttpRequest) -> HttpResponseBase:
        """Do something to a run."""
        act = request.POST.get("act", "")
        if act not in _ACTS:
            raise Http404("there is no such action")
        self._need(request, "view_run")
        needed, do = _ACTS[act]
        self._need(request, needed)
        given = {name: request.POST.get(name, "") for name in _FIELDS}
        address = {name: request.POST.get(name, "") for name in ("namespace", "workflow", "run")}
        try:
            handle = self._handle(request.POST)
            handle.describe()
            told = do(handle, given, request.user.get_username())
        except WorkflowNotFoundError as error:
            return self._page(request, "run", "Run", {"problem": str(error)}, 404)
        except (OrchestrationError, RefusedError, ValueError, TypeError, NondeterminismError) as error:
            messages.error(request, str(error))
        else:
            messages.success(request, told)
            self._log(request, address["workflow"], f"{act}: {told}")
            if act == "reset":
                address["run"] = ""
        return HttpResponseRedirect(self._url("show", {name: value for name, value in address.items() if value}))

    def start_view(self, request: HttpRequest) -> HttpResponseBase:
        """Start a run."""
        self._need(request, "view_run")
        self._need(request, "start_run")
        names = ("type", "id", "args")
        asked = {name: (request.POST if request.method == "POST" else request.GET).get(name, "") for name in names}
        if request.method == "POST":
            try:
                args = _json(asked["args"], "The arguments") if asked["args"].strip() else []
                if not isinstance(args, list):
                    raise RefusedError("The arguments are a JSON list, as [1, \"two\"].")
                handle = self._client("").start_workflow(asked["type"].strip(), *args, id=asked["id"].strip() or None)
            except (OrchestrationError, RefusedError, ValueError, TypeError) as error:
                messages.error(request, str(error))
            else:
                messages.success(request, "The workflow has been started.")
                self._log(request, handle.id, "start")
                return HttpResponseRedirect(self._url("show", _address(handle.namespace, handle.id)))
        with contextlib.suppress(OrchestrationError):
            registry = prompt_runtime().registry
            types = sorted(entry.type_name for entry in registry.of(WorkflowLua))
            return self._page(request, "start", "Start a workflow", {"asked": asked, "types": types}, 200)
        return self._page(request, "start", "Start a workflow", {"asked": asked, "types": []}, 200)

    # --- helpers

    def _need(self, request: HttpRequest, permission: str) -> None:
        if not request.user.has_perm(f"orchestration.{permission}"):
            raise PermissionDenied

    def _client(self, namespace: str) -> Client:
        if namespace and namespace not in prompt_runtime().namespaces:
            raise WorkflowNotFoundError(f"no workflow of this project is kept in namespace {namespace!r}")
        return prompt_client(namespace or None)

    def _handle(self, given: Any) -> WorkflowHandle:
        workflow = given.get("workflow", "")
        if not workflow:
            raise WorkflowNotFoundError("no workflow is named")
        return self._client(given.get("namespace", "")).get_workflow(workflow, given.get("run") or None)

    def _url(self, name: str, query: dict[str, Any]) -> str:
        url = reverse(f"{self.admin_site.name}:orchestration_run_{name}")
        kept = {key: value for key, value in query.items() if value not in ("", None)}
        return f"{url}?{urlencode(kept)}" if kept else url

    def _page(
        self, request: HttpRequest, template: str, title: str, context: dict[str, Any], status: int
    ) -> HttpResponse:
        everything = {
            **self.admin_site.each_context(request), "opts": self.model._meta, "title": title,
            "list_url": self._url("changelist", {}), "start_url": self._url("start", {}),
            "act_url": self._url("act", {}), **context,
        }  # fmt: skip
        return TemplateResponse(request, f"orchestration/admin/{template}.html", everything, status=status)

    def _log(self, request: HttpRequest, workflow_id: str, message: str) -> None:
        self.log_change(request, Run(id=workflow_id), message)


_EVENT_NAMES: Final = ("last", "first-failure", "last-activity", "start")


def _address(namespace: str, workflow_id: str, run_id: str = "") -> dict[str, str]:
    found = {"namespace": namespace, "workflow": workflow_id}
    return {**found, "run": run_id} if run_id else found


def _moment(time_ms: int) -> dt.datetime | None:
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC) if time_ms else None


def _number(text: str) -> int | None:
    """The number of an event; None for what is none, such as one of more digits than Python reads."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _json(text: str, what: str) -> Any:
    try:
        return read_json(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise RefusedError(f"{what}: this is not JSON ({error}).") from error
    except ValueError as error:
        raise RefusedError(f"{what}: {error}.") from error

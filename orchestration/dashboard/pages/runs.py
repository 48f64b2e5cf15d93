"""The list of runs and the page of one run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from orchestration.client import Description
from orchestration.client.listing import Filters
from orchestration.core.export import as_json, explain_event
from orchestration.dashboard.markup import Markup, failure_text
from orchestration.dashboard.pages.showing import Showing
from orchestration.dashboard.reader import Reader
from orchestration.dashboard.run_view import RunView, version_of, view_run

__all__ = ["ListPage", "RunPage", "StartPage"]

_PAGE: Final = 50
_STATUSES: Final = (
    ("", "All"), ("open", "Open"), ("parked", "Parked"), ("closed", "Ended"), ("completed", "Completed"),
    ("failed", "Failed"), ("cancelled", "Cancelled"), ("terminated", "Terminated"), ("timed_out", "Timed out"),
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class ListView:
    """What the list shows; the names of its filters are those of the URL."""

    status: str = ""
    type: str = ""
    id: str = ""
    where: str = ""
    namespace: str = ""
    cursor: str = ""
    next: str = ""
    problem: str = ""
    startable: str = ""
    types: list[str] = field(default_factory=list)
    namespaces: tuple[str, ...] = ()
    runs: list[Description] = field(default_factory=list)
    counts: list[tuple[str, str, int | None]] = field(default_factory=list)

    @property
    def query(self) -> dict[str, str]:
        """The filters."""
        return {
            "status": self.status, "type": self.type, "id": self.id, "where": self.where, "namespace": self.namespace,
        }  # fmt: skip

    @property
    def is_filtered(self) -> bool:
        """Whether there are any."""
        return any(self.query.values())

    @property
    def has_namespaces(self) -> bool:
        """Whether the runs shown are of several."""
        return len({run.namespace for run in self.runs}) > 1

    @staticmethod
    def stand(run: Description) -> tuple[str, str]:
        """Where the main coroutine of a run stands, and what for."""
        if run.parked:
            return "", run.parked
        if run.paused:
            return "", run.paused
        if not run.places:
            return "", "its start" if run.starts_ms else ""
        place = run.places[0]
        more = f" (+{len(run.places) - 1})" if len(run.places) > 1 else ""
        where = f"{PurePosixPath(place.file).name}:{place.line}" if place.line else ""
        return where, f"{place.waits_for}{more}"


class ListPage(Showing):
    """Runs, the latest first, page by page."""

    async def get(self) -> None:
        """Show it."""
        names = ("status", "type", "id", "where", "namespace", "cursor")
        given: dict[str, Any] = {name: self.text(name) for name in names}
        view = ListView(**given)
        await self.in_thread(_fill, self.reader, view)
        if view.problem:
            self.set_status(400)
        self.show("list", view=view, live=self.here(**view.query, cursor=view.cursor))


def _fill(reader: Reader, view: ListView) -> None:
    view.namespaces = reader.namespaces
    view.types = reader.types()
    view.startable = view.types[0] if view.types else ""
    filters: Filters = {"status": view.status or None, "type": view.type or None, "id_prefix": view.id or None}
    try:
        page = reader.page(view.where, filters, size=_PAGE, cursor=view.cursor, namespace=view.namespace)
    except ValueError as error:
        view.problem = str(error)
    else:
        view.runs, view.next = list(page), page.cursor
    if view.type and view.type not in view.types:
        view.types.append(view.type)
    is_plain = not (view.type or view.id or view.where or view.problem)
    counts = reader.counts(namespace=view.namespace) if is_plain and view.namespace in ("", *view.namespaces) else {}
    known = {"open": counts.get("open"), "parked": counts.get("parked"), "closed": counts.get("closed")}
    if counts:
        known[""] = counts.get("open", 0) + counts.get("closed", 0)
    view.counts = [(name, text, known.get(name)) for name, text in _STATUSES]


class RunPage(Showing):
    """One run."""

    async def get(self) -> None:
        """Show it."""
        workflow_id, run_id, namespace = self.text("id"), self.text("run"), self.text("namespace")
        after = self.count("after", 0, 0, 10**9) if self.text("after") else None
        handle, seen = await self.in_thread(self.reader.find, workflow_id, run_id, namespace)
        if self.is_known(version_of(seen, after)):
            return
        view: RunView = await self.in_thread(view_run, self.reader, handle, seen, after=after)
        markup = Markup(self.prefix)

        def history_url(start: int | None) -> str:
            return markup.url("run", id=workflow_id, run=run_id, namespace=namespace, after=start) + "#history"

        # Without a run in the URL the page goes on with the latest one, as the handle of a workflow does.
        live = self.here(id=workflow_id, run=run_id, namespace=namespace, after=after)
        self.show("run", view=view, live=live, history_url=history_url, failure_text=failure_text)


class StartPage(Showing):
    """A form that starts a workflow, empty or with the input of a run."""

    async def get(self) -> None:
        """Show it."""
        form = await self.in_thread(self._read)
        if not self.may_act:
            self.set_status(403)
        self.show("start", **form)

    def _read(self) -> dict[str, Any]:
        types = self.reader.types()
        form: dict[str, Any] = {
            "types": types, "type": self.text("type"), "args": "[]", "queue": "", "like": None, "lost": (),
            "problem": self._locked() and "Nothing can be started here.",
        }  # fmt: skip
        if not self.text("id"):
            return form
        handle, seen = self.reader.find(self.text("id"), self.text("like"), self.text("namespace"))
        raw = next(iter(handle.raw_history(stop=1)), None) if seen.history_length else None
        args = explain_event(raw)[2].get("args", []) if raw is not None else []
        form |= {"like": seen, "type": seen.type, "args": as_json(args, indent=2)}
        form["lost"] = sorted(_without_json(args))
        known = self.reader.orchestration.registry.find(seen.type)
        form["queue"] = "" if known is not None else seen.task_queue
        return form


def _without_json(value: Any) -> set[str]:
    """What a value has that JSON has not got, so that its text would start something else."""
    if isinstance(value, (dict, list, tuple)):
        items = value.values() if isinstance(value, dict) else value
        return set().union(*map(_without_json, items))
    if isinstance(value, (bytes, bytearray)):
        return {"bytes"}
    return {"infinite"} if isinstance(value, float) and not math.isfinite(value) else set()

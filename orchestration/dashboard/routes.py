"""The routes: one table, from which Flower's handlers and the description of the API are made."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from tornado.routing import URLSpec
from tornado.web import StaticFileHandler

from orchestration.dashboard.api import acting, document, reading
from orchestration.dashboard.pages import others, runs
from orchestration.dashboard.reader import Reader

if TYPE_CHECKING:
    from orchestration.tasks.app import Orchestration

__all__ = ["API", "PAGES", "Route", "rules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path and what answers it.

    Attributes:
        path: As a person writes it, with ``{name}`` for what is filled in: anything but a slash.
        handler: Answers it.
        name: By which templates link to it; empty for none.
    """

    path: str
    handler: type[Any]
    name: str = ""

    @property
    def pattern(self) -> str:
        """The path as a regular expression."""
        verbs = "|".join(getattr(self.handler, "VERBS", ()))
        parts = {"{verb}": f"({verbs})"}
        return "/".join(
            parts.get(part, "([^/]+)") if part.startswith("{") else part.replace(".", r"\.")
            for part in self.path.split("/")
        )


PAGES: Final = (
    Route(path="/workflows", handler=runs.ListPage, name="workflows"),
    Route(path="/workflows/run", handler=runs.RunPage),
    Route(path="/workflows/start", handler=runs.StartPage),
    Route(path="/workflows/parked", handler=others.ParkedPage),
    Route(path="/workflows/schedules", handler=others.SchedulesPage),
    Route(path="/workflows/processes", handler=others.ProcessesPage),
)

_RUN: Final = "/api/workflows/runs/{id}"
API: Final = (
    Route(path="/api/workflows", handler=reading.RunsApi),
    Route(path="/api/workflows/openapi.json", handler=document.DocumentApi),
    Route(path="/api/workflows/counts", handler=reading.CountsApi),
    Route(path="/api/workflows/types", handler=reading.TypesApi),
    Route(path=_RUN, handler=reading.RunApi),
    Route(path=f"{_RUN}/history", handler=reading.HistoryApi),
    Route(path=f"{_RUN}/timeline", handler=reading.TimelineApi),
    Route(path=f"{_RUN}/signal", handler=acting.SignalApi),
    Route(path=f"{_RUN}/cancel", handler=acting.CancelApi),
    Route(path=f"{_RUN}/terminate", handler=acting.TerminateApi),
    Route(path=f"{_RUN}/retry", handler=acting.RetryApi),
    Route(path=f"{_RUN}/pause", handler=acting.PauseApi),
    Route(path=f"{_RUN}/resume", handler=acting.ResumeApi),
    Route(path=f"{_RUN}/reset", handler=acting.ResetApi),
    Route(path="/api/workflows/release", handler=acting.ReleaseApi),
    Route(path="/api/workflows/schedules", handler=reading.SchedulesApi),
    Route(path="/api/workflows/schedules/{id}", handler=reading.ScheduleApi),
    Route(path="/api/workflows/schedules/{id}/{verb}", handler=acting.ScheduleVerbApi),
    Route(path="/api/workflows/processes", handler=reading.ProcessesApi),
    Route(path="/api/workflows/services", handler=reading.ServicesApi),
    Route(path="/api/workflows/services/{id}/{verb}", handler=acting.ServiceVerbApi),
)


def rules(prefix: str, orchestration: Orchestration) -> list[URLSpec]:
    """The routes as Tornado takes them.

    Args:
        prefix: Of Flower's URLs: empty, or ``/`` and its name.
        orchestration: Whose runs are shown.
    """
    given = {"reader": Reader(orchestration), "prefix": prefix}
    made = [URLSpec(f"{prefix}{route.pattern}", route.handler, given, route.name or None) for route in (*PAGES, *API)]
    # Style sheets and scripts are the same for everybody, as Flower's own are.
    static = {"path": str(resources.files(__package__) / "static")}
    return [*made, URLSpec(f"{prefix}/workflows/static/([a-z_]+\\.(?:css|js))", StaticFileHandler, static)]

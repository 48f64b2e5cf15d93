"""What every page is rendered with, and how a page is refreshed while it is looked at."""

from __future__ import annotations

from typing import Any

from orchestration.dashboard.access import PageHandler
from orchestration.dashboard.markup import Markup, size_text, with_query

__all__ = ["Showing"]


class Showing(PageHandler):
    """A page with a part that is refreshed.

    The browser asks for the page again with ``fragment=1`` and the tag of what it has, is told 304 as long as nothing
    has changed, and else gets that part alone.
    """

    section = "runs"
    version = ""

    @property
    def is_fragment(self) -> bool:
        """Whether only the part that is refreshed is asked for."""
        return self.text("fragment") == "1"

    def is_known(self, version: str) -> bool:
        """Whether the browser has this version of the part already; it has been answered then."""
        self.version = version
        if not self.is_fragment:
            return False
        self.set_etag_header()
        if not self.check_etag_header():
            return False
        self.set_status(304)
        return True

    def compute_etag(self) -> str | None:
        """The version of what is shown, where there is one; else Tornado's digest of it."""
        return f'"{self.version}"' if self.version and self.is_fragment else super().compute_etag()

    def get_template_namespace(self) -> dict[str, Any]:
        """What every template can use."""
        names: dict[str, Any] = super().get_template_namespace()
        names.update(
            m=Markup(self.prefix), size_text=size_text, section=self.section, may_act=self.may_act,
            locked=self._locked(),
        )  # fmt: skip
        return names

    def show(self, name: str, **values: Any) -> None:
        """Render a page, or its part; the part of ``workflows_x.html`` is ``workflows_x_live.html``."""
        self.set_header("Vary", "Cookie, Authorization")
        self.render(f"workflows_{name}{'_live' if self.is_fragment else ''}.html", **values)

    def here(self, **query: Any) -> str:
        """URL of the part of this page that is refreshed."""
        return with_query(self.request.path, **query, fragment=1)

    def _locked(self) -> str:
        if self.is_read_only:
            return "Flower is in read-only mode: nothing can be changed here."
        if not self.may_act:
            return "This Flower has no login, so nothing can be changed here: start it with --basic-auth or --auth."
        return ""

"""Who may see and do what: Flower's own login and read-only mode, asked on every page and every route of the API.

Flower has no global guard: a handler is open unless it asks. So ours ask once, before any of them begins, and none can
forget to. Against requests that other sites make a browser send, the same rule holds whether there is a login or not.

Source: flower/views/__init__.py and flower/api/__init__.py (2.2), CVE-2022-30034.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import urlencode, urlparse

from flower.views import BaseHandler
from tornado import web

from orchestration import errors
from orchestration.core.export import as_json
from orchestration.core.json_values import read_json
from orchestration.dashboard.api.operations import operation_of
from orchestration.dashboard.reader import Reader

__all__ = ["ApiHandler", "PageHandler", "check_guard"]

logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_READING: Final = ("GET", "HEAD", "OPTIONS")
_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_MOST_DIGITS: Final = 12
_MOST_BODY: Final = 4 * 1024 * 1024
_STATUS_OF: Final[tuple[tuple[type[Exception], int], ...]] = (
    (errors.WorkflowNotFoundError, 404), (errors.ScheduleNotFoundError, 404), (errors.EntryNotFoundError, 404),
    (errors.ProcessNotFoundError, 404), (errors.WorkflowAlreadyStartedError, 409), (errors.WorkflowClosedError, 409),
    (errors.NondeterminismError, 409), (errors.InboxFullError, 429), (errors.StoreUnavailableError, 503),
    (errors.PayloadTooLargeError, 413), (errors.PayloadError, 400), (errors.QueryFailedError, 400),
    (ValueError, 400), (TypeError, 400), (TimeoutError, 504), (errors.OrchestrationError, 422),
)  # fmt: skip
"""How an error is answered; the first that fits."""


def check_guard(flower: Any) -> None:
    """Refuse a Flower that would leave our pages open.

    Raises:
        RuntimeError: It has not got what its own pages are guarded with.
    """
    if "get_current_user" not in vars(BaseHandler) or "check_xsrf_cookie" not in vars(BaseHandler):
        raise RuntimeError("its pages are guarded in another way than this release knows")
    missing = [name for name in ("basic_auth", "auth", "read_only", "url_prefix") if not hasattr(flower.options, name)]
    if missing or not flower.settings.get("xsrf_cookies"):
        raise RuntimeError(f"it has no options {', '.join(missing)}" if missing else "it does not check for forgery")


class _Guarded(BaseHandler):  # type: ignore[misc]  # Flower has no types
    """What pages and API share."""

    def initialize(self, reader: Reader, prefix: str) -> None:
        """Take what every route is given."""
        self.reader = reader
        self.prefix = prefix

    def set_default_headers(self) -> None:
        """No other site may show, read or keep a page of ours, whatever Flower allows for its own."""
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "private, no-cache")

    def options(self, *_: Any, **__: Any) -> None:
        """Answer with nothing."""
        self.set_status(204)

    def check_xsrf_cookie(self) -> None:
        """Refuse what another site has the browser send; Flower's own rule, and without a login too."""
        site, origin = self.request.headers.get("Sec-Fetch-Site"), self.request.headers.get("Origin")
        if site and site not in ("same-origin", "none"):
            raise web.HTTPError(403, "Cross-site request forbidden")
        if origin and urlparse(origin).netloc != self.request.host:
            raise web.HTTPError(403, "Cross-origin request forbidden")
        super().check_xsrf_cookie()

    @property
    def has_login(self) -> bool:
        """Whether this Flower asks who somebody is."""
        options = self.application.options
        return bool(options.basic_auth or options.auth)

    @property
    def is_read_only(self) -> bool:
        """Whether this Flower changes nothing."""
        return bool(self.application.options.read_only)

    @property
    def may_act(self) -> bool:
        """Whether the API takes orders here: not in read-only mode, and without a login only where that is allowed."""
        return not self.is_read_only and (self.has_login or bool(self.unauthenticated_api))

    @property
    def user(self) -> str:
        """Name of who is logged in, for people; empty without a login."""
        found = self.current_user
        if isinstance(found, (str, bytes)):
            return found.decode() if isinstance(found, bytes) else found
        header = self.request.headers.get("Authorization", "")
        if self.application.options.basic_auth and header.startswith("Basic "):
            from base64 import b64decode

            return b64decode(header[6:]).decode("utf-8", "replace").partition(":")[0]
        return ""

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what waits for Redis beside the event loop."""
        return await self.reader.in_thread(work, *args, **kwargs)

    def text(self, name: str, default: str = "") -> str:
        """An argument of the URL as it was given; Flower's own would be escaped."""
        return str(self.get_argument(name, default, escape=False, strip=False) or "")

    def count(self, name: str, default: int, least: int, most: int) -> int:
        """An argument that is a whole number.

        Raises:
            ValueError: It is none, or not within these limits.
        """
        given = self.text(name)
        if not given:
            return default
        is_number = given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS
        if not is_number or not least <= int(given) <= most:
            raise ValueError(f"{name} is a whole number from {least} to {most:,}, not {given!r:.100}")
        return int(given)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """What callers have done wrong is no failure of ours."""
        if status_of(value) < 500 or isinstance(value, (errors.StoreUnavailableError, TimeoutError)):
            logger.info("%s %s: %s", self.request.method, self.request.path, value)
            return
        super().log_exception(typ, value, tb)

    def told(self, kwargs: dict[str, Any], status: int) -> tuple[int, str]:
        """Status and text of what is being answered instead of a page."""
        if not hasattr(self, "_current_user"):
            self.current_user = None  # who somebody is has been asked, in vain
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, web.HTTPError):
            return error.status_code, error.get_message() or HTTPStatus(error.status_code).phrase
        if (error is not None and status_of(error) < 500) or isinstance(error, errors.OrchestrationError):
            return status_of(error), str(error)
        if isinstance(error, TimeoutError):
            return 504, str(error)
        return status, HTTPStatus(status).phrase  # the text of a mistake of ours is in the log alone


def status_of(error: object) -> int:
    """HTTP status by which an error is told."""
    if isinstance(error, web.HTTPError):
        return error.status_code
    return next((status for kind, status in _STATUS_OF if isinstance(error, kind)), 500)


class PageHandler(_Guarded):
    """A page: for those whom Flower lets in."""

    def prepare(self) -> None:
        """Ask who it is, before anything is read."""
        if self.current_user:
            return
        if self.request.method not in _READING:
            raise web.HTTPError(403)
        self.redirect(f"{self.get_login_url()}?{urlencode({'next': self.request.uri})}")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say it on a page."""
        status, message = self.told(kwargs, status_code)
        self.set_status(status)
        if status == 401:
            self.set_header("WWW-Authenticate", 'Basic realm="flower"')
            self.finish("Access denied")
            return
        if self.text("fragment"):
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.finish(message)
            return
        self.render("workflows_error.html", status=status, message=message, section="")


class ApiHandler(_Guarded):
    """A route of the API: for those whom Flower lets in, and none of its doors is open that Flower's API keeps shut."""

    def prepare(self) -> None:
        """Ask who it is and whether it may, before anything is read or done."""
        if self.request.method == "OPTIONS":
            return
        if not self.has_login and not self.unauthenticated_api:
            raise web.HTTPError(
                401, "FLOWER_UNAUTHENTICATED_API environment variable is required to enable API without authentication"
            )
        if not self.current_user:
            raise web.HTTPError(401, "Log in first")
        if self.request.method not in _READING and self.is_read_only:
            raise web.HTTPError(403, "Flower is in read-only mode")

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent, checked against what the operation says of it.

        Raises:
            tornado.web.HTTPError: It is none, is too large, or is not as it should be.
        """
        raw = self.request.body or b"{}"
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if self.request.body and kind != "application/json":
            raise web.HTTPError(415, "Send the body as application/json")
        if len(raw) > _MOST_BODY:
            raise web.HTTPError(413, f"A body has at most {_MOST_BODY:,} bytes")
        try:
            found = read_json(raw)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise web.HTTPError(400, "The body is no JSON: %s", str(error)) from None
        except ValueError as error:
            raise web.HTTPError(400, "The body cannot be read: %s", str(error)) from None
        problem = operation_of(getattr(self, str(self.request.method).lower())).problem_of(found)
        if problem:
            raise web.HTTPError(400, "The body is not as it should be: %s", problem)
        return dict(found)

    def answer(self, value: Any, status: int = 200) -> None:
        """Send JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(as_json(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say it in JSON."""
        status, message = self.told(kwargs, status_code)
        error = (kwargs.get("exc_info") or (None, None))[1]
        if status == 401 and not self.application.options.auth:
            self.set_header("WWW-Authenticate", 'Basic realm="flower"')
        kind = type(error).__name__ if isinstance(error, errors.OrchestrationError) else HTTPStatus(status).phrase
        self.answer({"error": {"status": status, "kind": kind, "message": message}}, status)

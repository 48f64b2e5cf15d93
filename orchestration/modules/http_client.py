"""The module ``http_client``: requests to servers, with bounds on time, size and place."""

from __future__ import annotations

import re
import threading
import time
import weakref
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final

from orchestration.core.durations import parse_duration_ms
from orchestration.core.lua.host import HostError
from orchestration.modules.caller import Caller
from orchestration.modules.http_bodies import ACCEPTED, read_body
from orchestration.modules.permissions import require
from orchestration.modules.verbs import verb
from orchestration.tasks.runtime import Runtime

if TYPE_CHECKING:
    import httpx

    from orchestration.modules.http_hosts import Deadline

__all__: list[str] = []

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SAFE_TO_REPEAT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_OPTIONS: Final = frozenset(
    {"headers", "query", "body", "form", "timeout", "auth", "cookies", "allow_redirects", "max_response_bytes"}
)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_COOKIE_VALUE: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*|\"[^\x00-\x20\",;\\\x7f-\U0010ffff]*\"")
_DEFAULT_TIMEOUT_S: Final = 30.0
_LONGEST_TIMEOUT_S: Final = 600.0
_MOST_REDIRECTS: Final = 10
_LARGEST_PORT: Final = 65_535
_MOST_CONNECTIONS: Final = 100

_clients: weakref.WeakKeyDictionary[Runtime, tuple[httpx.Client, Deadline]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


@verb("http_client.request")
def request(caller: Caller, method: str, url: str, options: dict[str, Any] | list[Any] | None) -> dict[str, Any]:
    """Send a request and read its whole response."""
    require(caller, "http_client.request", url)
    client, deadline = _client(caller.runtime)
    import httpx

    from orchestration.modules.http_hosts import RefusedHostError

    method = method.upper()
    if method not in _METHODS:
        raise HostError("Invalid", f"there is no method {method}: use one of {', '.join(sorted(_METHODS))}")
    given = options if isinstance(options, dict) else {}
    unknown = sorted(set(given) - _OPTIONS)
    if unknown:
        raise HostError("Invalid", f"there is no option {unknown[0]!r}: use one of {', '.join(sorted(_OPTIONS))}")
    timeout_s = _timeout_s(given.get("timeout"))
    limit = _limit(caller, given.get("max_response_bytes"))
    may_repeat = True if method in _SAFE_TO_REPEAT else None
    deadline.at = time.monotonic() + timeout_s
    try:
        require(caller, "http_client.request", str(httpx.URL(url)))  # such as without the dots of a path
        sent = client.build_request(method, url, timeout=timeout_s, **_content(given))
        auth = _auth(given.get("auth"), sent)
        _check_place(sent.url)
        caller.check()
        response = client.send(sent, stream=True, auth=auth)
        try:
            if given.get("allow_redirects") is not False:
                response = _followed(caller, client, response)
            body = read_body(response, limit)
        finally:
            response.close()
    except RefusedHostError as error:
        raise HostError(
            "PermissionDenied", f"code may not connect to {error}: it is none of orchestration_http_allow"
        ) from None
    except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise HostError("Timeout", f"no connection within {timeout_s:g} s", retryable=True) from error
    except httpx.TimeoutException as error:
        raise HostError("Timeout", f"no response within {timeout_s:g} s", retryable=may_repeat) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise HostError("Invalid", str(error)) from error
    except httpx.ConnectError as error:
        raise HostError("Unavailable", str(error), retryable=True) from error
    except httpx.HTTPError as error:
        raise HostError("Unavailable", str(error) or type(error).__name__, retryable=may_repeat) from error
    except (TypeError, ValueError) as error:  # such as a header that no ASCII can carry
        raise HostError("Invalid", str(error)) from error
    finally:
        deadline.at = float("inf")
    return {
        "status_code": response.status_code,
        "headers": {_canonical(name): value for name, value in response.headers.items()},
        "body": body,
        "body_size": len(body),
        "url": str(response.url),
    }


def _followed(caller: Caller, client: httpx.Client, response: httpx.Response) -> httpx.Response:
    """Where redirects lead in the end; each place is one that code may ask, and no body on the way is read."""
    for _ in range(_MOST_REDIRECTS):
        request = response.next_request
        if request is None:
            return response
        response.close()
        _check_place(request.url)
        require(caller, "http_client.request", str(request.url))
        caller.check()
        response = client.send(request, stream=True)
    if response.next_request is not None:
        response.close()
        raise HostError("Invalid", f"more than {_MOST_REDIRECTS} redirects: see allow_redirects")
    return response


def _check_place(url: httpx.URL) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise HostError("Invalid", "a URL begins with http:// or https:// and names a host")
    if url.port is not None and not 0 < url.port <= _LARGEST_PORT:
        raise HostError("Invalid", f"there is no port {url.port}")


def _content(given: dict[str, Any]) -> dict[str, Any]:
    body, form = given.get("body"), given.get("form")
    if body is not None and form is not None:
        raise HostError("Invalid", "a request has a body or a form, not both")
    found: dict[str, Any] = {}
    for name, own in (("headers", "headers"), ("query", "params"), ("form", "data"), ("cookies", "cookies")):
        value = given.get(name)
        if value is None or value == []:
            continue
        if not isinstance(value, dict):
            raise HostError("Invalid", f"{name} must have names")
        found[own] = {key: _text(name, key, item, lists=name in ("query", "form")) for key, item in value.items()}
    for name, value in found.get("headers", {}).items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise HostError("Invalid", f"the header {name!r} has characters that none may have")
    for name, value in found.get("cookies", {}).items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name) or not _COOKIE_VALUE.fullmatch(value):
            raise HostError("Invalid", f"the cookie {name!r} has characters that none may have")
    if body is not None:
        if not isinstance(body, str | bytes):
            raise HostError("Invalid", "body must be a string; use json for tables")
        found["content"] = body
    return found


def _text(what: str, name: str, value: Any, *, lists: bool) -> Any:
    if isinstance(value, list) and lists and all(not isinstance(item, list | dict) for item in value):
        return [_text(what, name, item, lists=False) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return value
    raise HostError("Invalid", f"{what}: {name!r} must be a string, a number or a boolean")


def _auth(value: Any, sent: httpx.Request) -> Any:
    """Name and password, or a bearer token. None: no other than what the URL has."""
    import httpx

    if value is None:
        return httpx.USE_CLIENT_DEFAULT
    if isinstance(value, dict):
        if isinstance(value.get("token"), str) and len(value) == 1:
            if not _HEADER_VALUE.fullmatch(value["token"]):  # httpx would say so with the token
                raise HostError("Invalid", "auth: the token has characters that no header may have, such as a new line")
            sent.headers["Authorization"] = f"Bearer {value['token']}"
            return httpx.USE_CLIENT_DEFAULT
        user, password = value.get("user"), value.get("pass", "")
        if isinstance(user, str) and isinstance(password, str):
            return (user, password)
    raise HostError("Invalid", "auth is { user = ..., pass = ... } or { token = ... }")


def _timeout_s(value: Any) -> float:
    if value is None:
        return _DEFAULT_TIMEOUT_S
    try:
        found = parse_duration_ms(value) / 1000 if isinstance(value, str) else float(value)
    except (TypeError, ValueError) as error:
        raise HostError("Invalid", f"timeout: {error}") from None
    if isinstance(value, bool) or not 0 < found <= _LONGEST_TIMEOUT_S:
        raise HostError("Invalid", f"timeout must be more than 0 and at most {_LONGEST_TIMEOUT_S:g} seconds")
    return found


def _limit(caller: Caller, value: Any) -> int:
    most = caller.runtime.settings.value_limit_bytes * 3 // 4  # the rest of the answer needs some room
    if value is None:
        return most
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise HostError("Invalid", "max_response_bytes must be a whole number above 0")
    return min(value, most)


def _canonical(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


def _client(runtime: Runtime) -> tuple[httpx.Client, Deadline]:
    """The connections of this OS process; cookies are not kept between requests."""
    with _lock:
        found = _clients.get(runtime)
        if found is None:
            found = _clients[runtime] = _make(runtime)
            weakref.finalize(runtime, found[0].close)
        return found


def _make(runtime: Runtime) -> tuple[httpx.Client, Deadline]:
    try:
        import httpcore
        import httpx

        from orchestration.modules.http_hosts import Backend, Deadline, HostRules
    except ModuleNotFoundError:
        raise HostError(
            "Internal", "the module http_client needs httpx: install celery-orchestration[http]"
        ) from None
    deadline = Deadline()
    transport = httpx.HTTPTransport(trust_env=False)
    transport._pool = httpcore.ConnectionPool(
        ssl_context=httpx.create_ssl_context(trust_env=False),
        max_connections=_MOST_CONNECTIONS,
        keepalive_expiry=5.0,
        network_backend=Backend(HostRules.read(runtime.settings.http_allow), deadline),
    )
    nobodys = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # what one caller is given is not another's to send
    client = httpx.Client(transport=transport, trust_env=False, cookies=nobodys)
    client.headers.update({"User-Agent": "celery-orchestration", "Accept-Encoding": ACCEPTED})
    return client, deadline

# ruff: noqa: E501 - Lua sources read better on one line
"""The module ``http_client``, against a server of the test's own."""

from __future__ import annotations

import gzip
import ipaddress
import json
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestration.client import Actor
from orchestration.errors import ConfigError
from orchestration.modules.http_hosts import HostRules, is_public
from orchestration.registry import Registry, load_registry
from orchestration.settings import Settings
from orchestration.testing import WorkflowEnvironment
from tests.support.pages import Page
from tests.support.projects import Project

SENDS_ORDER = Page("docs/reference/http_client.md").block("local http")
project = Project()
project.function("page", f"""
    return function(base)
        local token, printed = "s3cret", {{}}
        local function print(...) printed = {{ ... }} end
        {SENDS_ORDER.replace('"https://api.example.com', 'base .. "')}
        return printed
    end
""", modules=("http_client",))  # fmt: skip
project.function(
    "request",
    """
    local http = require("http_client")
    return function(method, url, options)
        local response, err
        if http[method] then response, err = http[method](url, options) else response, err = http.request(method, url, options) end
        return { response = response, kind = err and err:kind(), message = err and err:message(), retryable = err and err:retryable() }
    end
    """,
    modules=("http_client",),
)
project.entry(
    "echoes", "security.policy",
    policy={"actions": ["http_client.request", "funcs.call"], "effect": "allow", "resources": ["*/echo*", "*/there", "*/away", "*/inside"]},
)  # fmt: skip
project.function("uri", "local http = require('http_client') return function(a, b) local t, e = http.decode_uri(b) return { a = http.encode_uri(a), b = t, kind = e and e:kind() } end", modules=("http_client",))
project.function("wrong", "local http = require('http_client') return function() return { pcall(http.get) , (pcall(http.request, 5, 'http://x')), (pcall(http.get, 'http://x', 5)) } end", modules=("http_client",))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        where = self.path.partition("?")[0]
        if where == "/echo":
            seen = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body.decode("latin-1")}
            self._send(200, json.dumps(seen).encode(), {"Content-Type": "application/json", "Set-Cookie": "left=behind"})
        elif where == "/orders" and self.headers["Authorization"] == "Bearer s3cret":
            self._send(201, body, {"Location": f"/orders/{json.loads(body)['id']}"})
        elif where == "/missing":
            self._send(404, b"no")
        elif where == "/slow":
            time.sleep(1)
            self._send(200, b"late")
        elif where == "/drip":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
        elif where == "/large":
            self._send(200, b"x" * 100_000)
        elif where == "/bomb":
            self._send(200, gzip.compress(b"\0" * 5_000_000), {"Content-Encoding": "gzip"})
        elif where == "/twice":
            self._send(200, gzip.compress(gzip.compress(b"\0" * 50_000_000)), {"Content-Encoding": "gzip, gzip"})
        elif where in ("/zlib", "/deflate"):
            packed = zlib.compress(b"packed" * 1000)
            self._send(200, packed if where == "/zlib" else packed[2:-4], {"Content-Encoding": "deflate"})
        elif where == "/broken":
            self._send(200, b"no gzip", {"Content-Encoding": "gzip"})
        elif where == "/chatty":
            self._send(302, b"x" * 50_000_000, {"Location": "/echo"})
        elif where == "/bytes":
            self._send(200, b"\xff\x00")
        elif where == "/there":
            self._send(302, b"", {"Location": "/echo"})
        elif where == "/away":
            self._send(302, b"", {"Location": "/missing"})
        elif where == "/round":
            self._send(302, b"", {"Location": "/round"})
        elif where == "/inside":
            self._send(302, b"", {"Location": "http://169.254.169.254/latest/meta-data"})
        elif where == "/file":
            self._send(302, b"", {"Location": "file:///etc/passwd"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no news."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@pytest.fixture
def env(registry: Registry) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(registry=registry, http_allow="127.0.0.0/8") as env:
        yield env


def ask(env: WorkflowEnvironment, method: str, url: str, options: Any = None) -> Any:
    return env.client.call("app:request", method, url, options, timeout=20)


def test_the_example_of_the_page_makes_an_order(env: WorkflowEnvironment, url: str) -> None:
    location, body = env.client.call("app:page", url, timeout=20)
    assert (location, json.loads(body)) == ("/orders/7", {"id": 7})


def echo(env: WorkflowEnvironment, method: str, url: str, options: Any = None) -> Any:
    found = ask(env, method, url, options)
    assert found.get("kind") is None, found
    return json.loads(found["response"]["body"])


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
def test_each_method_has_a_function(env: WorkflowEnvironment, url: str, method: str) -> None:
    assert echo(env, method, f"{url}/echo")["method"] == method.upper()
    assert echo(env, method.upper(), f"{url}/echo")["method"] == method.upper()


def test_a_response_has_its_status_headers_body_and_url(env: WorkflowEnvironment, url: str) -> None:
    response = ask(env, "get", f"{url}/missing")["response"]
    assert (response["status_code"], response["body"], response["body_size"]) == (404, "no", 2)
    assert response["url"] == f"{url}/missing"
    assert response["headers"]["Content-Length"] == "2"
    assert ask(env, "head", f"{url}/large")["response"]["body"] == ""
    assert ask(env, "get", f"{url}/bytes")["response"]["body"] == b"\xff\x00"


def test_a_request_carries_what_the_options_say(env: WorkflowEnvironment, url: str) -> None:
    seen = echo(env, "post", f"{url}/echo", {"headers": {"X-One": 1}, "query": {"q": ["a b", 2], "yes": True}, "json": {"a": [1, "ä"]}, "auth": {"user": "ann", "pass": "pw"}, "cookies": {"c": "1"}})
    assert seen["path"] == "/echo?q=a+b&q=2&yes=true"
    assert seen["headers"]["X-One"] == "1"
    assert seen["headers"]["Authorization"].startswith("Basic ")
    assert seen["headers"]["Content-Type"] == "application/json"
    assert seen["headers"]["Cookie"] == "c=1"
    assert json.loads(seen["body"].encode("latin-1")) == {"a": [1, "ä"]}
    assert echo(env, "post", f"{url}/echo", {"form": {"a": "1 2"}})["body"] == "a=1+2"
    assert echo(env, "post", f"{url}/echo", {"body": b"\xff"})["body"] == "\xff"
    assert echo(env, "get", f"{url}/echo", {"auth": {"token": "t"}})["headers"]["Authorization"] == "Bearer t"


def test_a_cookie_is_not_kept_for_other_requests(env: WorkflowEnvironment, url: str) -> None:
    echo(env, "get", f"{url}/echo")
    assert "Cookie" not in echo(env, "get", f"{url}/echo")["headers"]


def test_redirects_are_followed_unless_said_and_not_for_ever(env: WorkflowEnvironment, url: str) -> None:
    assert ask(env, "get", f"{url}/there")["response"]["url"] == f"{url}/echo"
    assert ask(env, "get", f"{url}/there", {"allow_redirects": False})["response"]["status_code"] == 302
    assert ask(env, "get", f"{url}/round")["kind"] == "Invalid"


def test_a_redirect_leads_to_no_place_that_is_not_allowed(env: WorkflowEnvironment, url: str) -> None:
    assert ask(env, "get", f"{url}/inside")["kind"] == "PermissionDenied"
    assert ask(env, "get", f"{url}/file")["kind"] == "Invalid"


@pytest.mark.parametrize("path", ["/slow", "/drip"])
def test_a_timeout_bounds_the_whole_request(env: WorkflowEnvironment, url: str, path: str) -> None:
    begun = time.monotonic()
    found = ask(env, "get", f"{url}{path}", {"timeout": 0.3})
    assert (found["kind"], found["retryable"]) == ("Timeout", True)
    assert time.monotonic() - begun < 3
    assert ask(env, "post", f"{url}{path}", {"timeout": "200ms"}).get("retryable") is None


def test_the_size_of_a_response_is_bounded(env: WorkflowEnvironment, url: str) -> None:
    assert ask(env, "get", f"{url}/large", {"max_response_bytes": 99_999})["kind"] == "Invalid"
    assert ask(env, "get", f"{url}/large", {"max_response_bytes": 100_000})["response"]["body_size"] == 100_000
    assert "bytes" in ask(env, "get", f"{url}/bomb")["message"]


def test_packed_bodies_are_unpacked_within_the_bound(env: WorkflowEnvironment, url: str) -> None:
    for path in ("/zlib", "/deflate"):
        assert ask(env, "get", f"{url}{path}")["response"]["body"] == "packed" * 1000
        assert ask(env, "get", f"{url}{path}", {"max_response_bytes": 5_999})["kind"] == "Invalid"
    assert ask(env, "get", f"{url}/broken")["kind"] == "Invalid"


def test_what_is_packed_twice_is_not_unpacked(env: WorkflowEnvironment, url: str) -> None:
    """A few bytes become so many between one look at their number and the next that the worker is gone."""
    tracemalloc.start()
    try:
        assert ask(env, "get", f"{url}/twice")["response"]["body_size"] < 1_000
        assert tracemalloc.get_traced_memory()[1] < 150_000_000, "the server makes 50 MB of its own"
    finally:
        tracemalloc.stop()


def test_the_body_of_a_redirect_is_not_read(env: WorkflowEnvironment, url: str) -> None:
    assert ask(env, "get", f"{url}/chatty", {"max_response_bytes": 10_000})["response"]["url"] == f"{url}/echo"


def test_policies_are_asked_about_the_url_that_is_sent_and_about_each_redirect(env: WorkflowEnvironment, url: str) -> None:
    def kind(path: str) -> Any:
        actor = Actor("ann")
        found = env.client.call("app:request", "get", f"{url}{path}", actor=actor, scope=["app:echoes"], timeout=20)
        return found.get("kind", found.get("response", {}).get("status_code"))

    assert kind("/echo") == 200
    assert kind("/missing") == "PermissionDenied"
    assert kind("/echo/../missing") == "PermissionDenied"
    assert kind("/there") == 200
    assert kind("/inside") == "PermissionDenied"
    assert kind("/away") == "PermissionDenied"


def test_a_token_that_no_header_can_carry_is_in_no_error(env: WorkflowEnvironment, url: str) -> None:
    """Such as one that was read from a file, with the new line at its end."""
    for auth in ({"token": "secret\n"}, {"user": "ann", "pass": "secret\n"}):
        found = ask(env, "get", f"{url}/echo", {"auth": auth})
        assert "secret" not in found.get("message", ""), found
    assert ask(env, "get", f"{url}/echo", {"auth": {"token": "secret\n"}})["kind"] == "Invalid"


def test_a_server_that_is_not_there_is_unavailable(env: WorkflowEnvironment) -> None:
    found = ask(env, "get", "http://127.0.0.1:9/")
    assert (found["kind"], found["retryable"]) == ("Unavailable", True)


@pytest.mark.parametrize(
    ("method", "address", "options"),
    [
        ("get", "", None),
        ("get", "ftp://127.0.0.1/", None),
        ("get", "file:///etc/passwd", None),
        ("get", "nowhere", None),
        ("get", "http://", None),
        ("TRACE", "http://127.0.0.1/", None),
        ("get", "http://127.0.0.1/", {"timeout": 0}),
        ("get", "http://127.0.0.1/", {"timeout": "soon"}),
        ("get", "http://127.0.0.1/", {"timeout": 601}),
        ("get", "http://127.0.0.1/", {"headers": {"a": {}}}),
        ("get", "http://127.0.0.1/", {"headers": {"a": "1\r\nX: y"}}),
        ("get", "http://127.0.0.1/", {"headers": {"a": "ä€"}}),
        ("get", "http://127.0.0.1/", {"cookies": {"a": "1; b=2"}}),
        ("get", "http://127.0.0.1/", {"cookies": {"a": "1\r\nX: y"}}),
        ("get", "http://127.0.0.1/", {"cookies": {"a=b; c": "1"}}),
        ("get", b"http://127.0.0.1/\xff", None),
        ("get", "http://127.0.0.1/\n", None),
        ("get", "http://" + "a" * 70 + ".example/", None),
        ("get", "http://127.0.0.1:99999/", None),
        ("get", "http://127.0.0.1/", {"verify": False}),
        ("get", "http://127.0.0.1/", {"auth": "ann"}),
        ("post", "http://127.0.0.1/", {"body": {"a": 1}}),
        ("post", "http://127.0.0.1/", {"body": "a", "json": 1}),
        ("post", "http://127.0.0.1/", {"body": "a", "form": {"a": 1}}),
        ("get", "http://127.0.0.1/", {"max_response_bytes": 0}),
    ],
)
def test_wrong_requests_are_invalid(env: WorkflowEnvironment, method: str, address: str, options: Any) -> None:
    assert ask(env, method, address, options)["kind"] == "Invalid"


def test_arguments_of_a_wrong_type_raise(env: WorkflowEnvironment) -> None:
    assert env.client.call("app:wrong", timeout=10)[0] is False


def test_uris_are_escaped_and_back(env: WorkflowEnvironment) -> None:
    assert env.client.call("app:uri", "a b&ä", "a%20b+c%C3%A4", timeout=10) == {"a": "a%20b%26%C3%A4", "b": "a b cä"}
    assert env.client.call("app:uri", "x", "50%", timeout=10) == {"a": "x", "kind": "Invalid"}


def test_by_default_code_reaches_public_addresses_only(registry: Registry, url: str) -> None:
    with WorkflowEnvironment(registry=registry) as env:
        for host in (url, url.replace("127.0.0.1", "localhost"), "http://[::1]/", "http://2130706433/", "http://169.254.169.254/"):
            assert ask(env, "get", host)["kind"] == "PermissionDenied", host


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("8.8.8.8", True), ("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("::1", False),
        ("::ffff:127.0.0.1", False), ("64:ff9b::7f00:1", False), ("fe80::1", False), ("fd00::1", False),
        ("2002:7f00:1::", False), ("168.63.129.16", False), ("2606:4700::1", True), ("::", False),
    ],
)  # fmt: skip
def test_what_is_public(address: str, found: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is found


def test_rules_name_hosts_and_networks() -> None:
    inside, outside = ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("8.8.8.8")
    rules = HostRules.read("*.internal, 10.0.0.0/24")
    assert rules.allows("db.internal", inside)
    assert rules.allows("whatever", inside)
    assert not rules.allows("whatever", outside)
    assert not rules.allows("x", ipaddress.ip_address("10.0.1.1"))
    assert HostRules.read("any").allows("x", inside)
    assert not HostRules.read("").allows("x", outside)
    assert HostRules.read("public").allows("x", outside)


def test_the_setting_is_text() -> None:
    with pytest.raises(ConfigError):
        Settings.from_celery({"orchestration_http_allow": 5}, env={})

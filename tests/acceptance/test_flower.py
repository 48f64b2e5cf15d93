"""Workflows in a real Flower: who may see and do what, on every route; and whatever comes from a run stays text."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tornado.web import create_signed_value

from orchestration import ScheduleAction, ScheduleSpec
from orchestration.client import WorkflowHandle
from orchestration.dashboard.routes import API, PAGES
from orchestration.embedded import EmbeddedRedis
from tests.support.flower import LOGIN, UNTESTED, Flower, start_flower
from tests.support.gallery import MARKUP, gallery, hang_gallery, order
from tests.support.projects import Deployment, deployed
from tests.support.waiting import wait_until

project = gallery()
COOKIE_SECRET = "a secret of these tests"
METHODS = ("GET", "POST")
ODD_TYPE = "x:<script>window.broken=3</script><img/src=x/onerror=window.broken=4>"

# Every operation of every route: where it is asked, what is sent, what somebody who may do it is answered.
RUN = "/api/workflows/runs/order-2"
CASES: dict[tuple[str, str], tuple[str, Any, int]] = {
    ("GET", "/workflows"): ("/workflows", None, 200),
    ("GET", "/workflows/run"): ("/workflows/run?id=order-2", None, 200),
    ("GET", "/workflows/start"): ("/workflows/start?id=order-2", None, 200),
    ("GET", "/workflows/parked"): ("/workflows/parked", None, 200),
    ("GET", "/workflows/schedules"): ("/workflows/schedules", None, 200),
    ("GET", "/workflows/processes"): ("/workflows/processes", None, 200),
    ("GET", "/api/workflows"): ("/api/workflows", None, 200),
    ("POST", "/api/workflows"): ("/api/workflows", {"type": "shop:approval", "args": ["x"], "id": "from-the-api"}, 201),
    ("GET", "/api/workflows/openapi.json"): ("/api/workflows/openapi.json", None, 200),
    ("GET", "/api/workflows/counts"): ("/api/workflows/counts?by=status", None, 200),
    ("GET", "/api/workflows/types"): ("/api/workflows/types", None, 200),
    ("GET", "/api/workflows/runs/{id}"): (RUN, None, 200),
    ("GET", "/api/workflows/runs/{id}/history"): (f"{RUN}/history?limit=3", None, 200),
    ("GET", "/api/workflows/runs/{id}/timeline"): (f"{RUN}/timeline", None, 200),
    ("POST", "/api/workflows/runs/{id}/signal"): (f"{RUN}/signal", {"topic": "noticed", "payloads": [1]}, 200),
    ("POST", "/api/workflows/runs/{id}/cancel"): ("/api/workflows/runs/order-5/cancel", {"reason": "enough"}, 200),
    ("POST", "/api/workflows/runs/{id}/terminate"): ("/api/workflows/runs/order-4/terminate", {}, 200),
    ("POST", "/api/workflows/runs/{id}/retry"): ("/api/workflows/runs/import-of-march/retry", {}, 200),
    ("POST", "/api/workflows/runs/{id}/pause"): (f"{RUN}/pause", {"note": "a moment"}, 200),
    ("POST", "/api/workflows/runs/{id}/resume"): (f"{RUN}/resume", {}, 200),
    ("POST", "/api/workflows/runs/{id}/reset"): ("/api/workflows/runs/order-1/reset", {"to_event": "start"}, 200),
    ("POST", "/api/workflows/release"): ("/api/workflows/release", {"limit": 5}, 200),
    ("GET", "/api/workflows/schedules"): ("/api/workflows/schedules", None, 200),
    ("GET", "/api/workflows/schedules/{id}"): ("/api/workflows/schedules/nightly", None, 200),
    ("POST", "/api/workflows/schedules/{id}/{verb}"): ("/api/workflows/schedules/nightly/pause", {"note": "hm"}, 200),
    ("GET", "/api/workflows/processes"): ("/api/workflows/processes", None, 200),
    ("GET", "/api/workflows/services"): ("/api/workflows/services", None, 200),
    ("POST", "/api/workflows/services/{id}/{verb}"): ("/api/workflows/services/shop:none/stop", {}, 404),
}  # fmt: skip
PAGE_PATHS = [path for (method, _), (path, _, _) in CASES.items() if not path.startswith("/api/")]
API_CASES = [(m, p, b, s) for (m, _), (p, b, s) in CASES.items() if p.startswith("/api/")]
WRITES = [(path, body) for method, path, body, _ in API_CASES if method == "POST"]


@pytest.fixture(scope="module")
def runs(running: Deployment) -> dict[str, WorkflowHandle]:
    """Runs that no test changes, but for the parked one; what is acted on has ids of its own."""
    for number in (1, 2, 4, 5):
        running.client.start_workflow("shop:approval", "order", id=f"acted-{number}")
    runs = hang_gallery(running.client)
    start = running.client.start_workflow
    marked = start("shop:approval", MARKUP, id="marked", search={"customer": MARKUP, MARKUP: 1}, details=MARKUP)
    marked.signal(MARKUP, MARKUP)
    start(ODD_TYPE, id="odd-type", task_queue="nobody")  # code that is unknown here may have any name
    action = ScheduleAction(workflow_type="shop:order", args=[order(9)])
    running.client.create_schedule("nightly", spec=ScheduleSpec(cron="0 3 * * *"), action=action, note=MARKUP)
    running.client.create_schedule(MARKUP, spec=ScheduleSpec(cron="0 4 * * *"), action=action, paused=True)
    return runs


@pytest.fixture(scope="module")
def flowers(request: pytest.FixtureRequest, running: Deployment) -> Iterator[dict[str, Flower]]:
    """One Flower for each way in which it can be started."""
    ways: dict[str, dict[str, Any]] = {
        "login": {"options": [f"--basic-auth={LOGIN}"]},
        "read-only": {"options": [f"--basic-auth={LOGIN}", "--read-only", "--url-prefix=ops"]},
        "no-login": {"before": ("-c", UNTESTED)},
        "open": {"env": {"FLOWER_UNAUTHENTICATED_API": "true"}},
        "oauth": {
            "options": [r"--auth=.*@example.com", "--auth-provider=flower.views.auth.GithubLoginHandler",
                        "--oauth2-key=k", "--oauth2-secret=s", "--oauth2-redirect-uri=http://localhost/login",
                        f"--cookie-secret={COOKIE_SECRET}"],
        },
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        started = {
            name: stack.enter_context(
                start_flower(running, *way.pop("options", ()), name=f"flower-{name}", wait=False, **way)
            )
            for name, way in ways.items()
        }
        request.getfixturevalue("runs")  # meanwhile
        for flower in started.values():
            flower.wait_until_ready()
        yield started


def test_every_operation_of_every_route_has_a_case() -> None:
    """A route that is added without one is not covered by the tests below."""
    operations = {
        (method, route.path)
        for route in (*PAGES, *API)
        for method in METHODS
        if getattr(route.handler, method.lower()).__name__ != "_unimplemented_method"
    }
    assert operations == set(CASES)


@pytest.mark.parametrize(("method", "path", "body", "status"), API_CASES)
def test_nothing_of_the_api_is_read_or_done_without_login(
    flowers: dict[str, Flower], method: str, path: str, body: Any, status: int
) -> None:
    for name in ("login", "no-login", "oauth"):
        answer = flowers[name].ask(method, path, body=body)
        assert answer.status in (401, 403), (name, answer)
        assert b"order" not in answer.body, (name, answer)
        assert answer.json["error"]["status"] == answer.status
    assert flowers["login"].ask(method, path, body=body, login="ann:wrong").status == 401


@pytest.mark.parametrize("path", PAGE_PATHS)
def test_no_page_is_shown_without_login(flowers: dict[str, Flower], path: str) -> None:
    for wrong in ("", "ann:wrong"):
        answer = flowers["login"].get(path, login=wrong)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert b"order" not in answer.body
    answer = flowers["oauth"].get(path)
    assert answer.status == 302
    assert answer.headers["location"].startswith("/login?next=%2Fworkflows")
    assert b"order" not in answer.body


@pytest.mark.parametrize(("path", "body"), WRITES)
def test_read_only_mode_changes_nothing(
    running: Deployment, flowers: dict[str, Flower], runs: dict[str, WorkflowHandle], path: str, body: Any
) -> None:
    before = {name: handle.describe() for name, handle in runs.items() if name != "parked"}
    started = running.client.list_workflows(id_prefix="from-the-api")
    answer = flowers["read-only"].post(f"/ops{path}", body, login=LOGIN)
    assert answer.status == 403
    assert "read-only" in answer.json["error"]["message"]
    assert {name: runs[name].describe() for name in before} == before
    assert running.client.list_workflows(id_prefix="from-the-api") == started


@pytest.mark.parametrize("path", PAGE_PATHS)
def test_pages_offer_no_actions_where_none_can_be_taken(flowers: dict[str, Flower], path: str) -> None:
    for name, prefix, login in (("read-only", "/ops", LOGIN), ("no-login", "", "")):
        answer = flowers[name].get(f"{prefix}{path}", login=login)
        assert answer.status == (403 if "/start" in path else 200), (name, answer.text)
        assert "data-act" not in answer.text
        assert "data-dialog" not in answer.text
        assert "nothing can be changed here" in answer.text


def test_links_begin_with_the_prefix(flowers: dict[str, Flower]) -> None:
    for path in PAGE_PATHS:
        text = flowers["read-only"].get(f"/ops{path}", login=LOGIN).text
        ours = re.findall(r'(?:href|src|action|data-live|data-api)="(/[^"]*)"', text)
        assert ours
        assert [url for url in ours if not url.startswith("/ops")] == []
    assert flowers["read-only"].get("/ops/workflows/static/workflows.js").status == 200


@pytest.mark.parametrize(("path", "body"), WRITES)
@pytest.mark.parametrize("headers", [{"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
                                     {"Origin": "http://evil.example"}])  # fmt: skip
def test_what_another_site_sends_is_refused(
    flowers: dict[str, Flower], path: str, body: Any, headers: dict[str, str]
) -> None:
    for name, login in (("login", LOGIN), ("open", "")):
        assert flowers[name].post(path, body, login=login, **headers).status == 403, name


def test_a_session_needs_the_token_of_its_cookie(flowers: dict[str, Flower]) -> None:
    """Where a cookie is the login, a form of another site would be sent with it."""
    flower = flowers["oauth"]
    user = create_signed_value(COOKIE_SECRET, "user", "ann@example.com").decode()
    other = create_signed_value(COOKIE_SECRET, "user", "eve@evil.example").decode()
    assert flower.get("/workflows", Cookie=f"user={user}").status == 200
    assert flower.get("/workflows", Cookie=f"user={other}").status == 302
    assert flower.get("/api/workflows", Cookie=f"user={other}").status == 401
    page = flower.get("/workflows/run?id=order-2", Cookie=f"user={user}")
    token = re.search(r"_xsrf=([^;]+)", page.headers["set-cookie"])
    assert token is not None
    for path, body in WRITES:
        assert flower.post(path, body, Cookie=f"user={user}").status == 403, path
        assert flower.post(path, body, Cookie=f"user={user}; _xsrf={token[1]}").status == 403, path
    cookies = f"user={user}; _xsrf={token[1]}"
    path = "/api/workflows/runs/acted-2/signal"
    good = flower.post(path, {"topic": "seen"}, Cookie=cookies, X_XSRFToken=token[1])
    assert good.status == 200


@pytest.mark.parametrize(("path", "body"), WRITES)
def test_a_body_is_json_and_what_it_should_be(flowers: dict[str, Flower], path: str, body: Any) -> None:
    flower = flowers["login"]
    assert flower.post(path, b'{"a": 1}', login=LOGIN, Content_Type="text/plain").status == 415
    for wrong in (b"{", b"[1]", b'{"no such member": 1}', b'{"type": NaN}', b"[" * 5000, b"\xff\xfe"):
        answer = flower.post(path, wrong, login=LOGIN)
        assert answer.status == 400, wrong
        assert answer.json["error"]["message"]


@pytest.mark.parametrize(
    "path",
    [*PAGE_PATHS, f"/workflows/run?id={quote(MARKUP)}", f"/workflows/start?id={quote(MARKUP)}",
     "/workflows/run?id=approval-8", "/workflows/run?id=marked", "/workflows/run?id=odd-type",
     "/workflows/start?id=marked", f"/workflows?type={quote(ODD_TYPE)}",
     f"/workflows?id={quote(MARKUP)}", f"/workflows?where={quote(MARKUP)}",
     f"/workflows?type={quote(MARKUP)}&status={quote(MARKUP)}", f"/workflows?cursor={quote(MARKUP)}",
     f"/workflows/run?id={quote(MARKUP)}&run={quote(MARKUP)}", f"/workflows?namespace={quote(MARKUP)}",
     f"/workflows/run?id=order-1&after={quote(MARKUP)}", f"/workflows/schedules?id={quote(MARKUP)}"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["login", "no-login"])
def test_markup_of_runs_and_of_urls_is_text(flowers: dict[str, Flower], name: str, path: str) -> None:
    answer = flowers[name].get(path, login=LOGIN if name == "login" else "")
    assert answer.status in (200, 400, 403, 404)
    assert MARKUP not in answer.text
    assert "<img src=x" not in answer.text
    assert "<img/src" not in answer.text
    scripts = re.findall(r"<script[^>]*>", answer.text)
    assert scripts
    assert all(" src=" in script for script in scripts)
    assert " onerror=window" not in html.unescape(re.sub(r">[^<]*<", "><", answer.text)).replace(MARKUP, "")
    assert "script-src" in answer.headers["content-security-policy"] or (
        "default-src 'self'" in answer.headers["content-security-policy"]
    )
    assert answer.headers["x-frame-options"] == "DENY"


def test_the_api_says_everything_as_json(flowers: dict[str, Flower]) -> None:
    flower = flowers["login"]
    answer = flower.get(f"/api/workflows/runs/{quote(MARKUP, safe='')}", login=LOGIN)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json["workflow_id"] == MARKUP
    assert answer.json["failure"]["kind"] == MARKUP
    for path, status in (
        ("/api/workflows/runs/none", 404), ("/api/workflows?where=amount+>", 400), ("/api/workflows?limit=0", 400),
        ("/api/workflows?cursor=x", 400), ("/api/workflows?status=odd", 400), ("/api/workflows?namespace=none", 400),
        ("/api/workflows/schedules/none", 404), ("/api/workflows/counts?by=odd", 400),
        ("/api/workflows/runs/order-1/history?after=-1", 400),
    ):  # fmt: skip
        answer = flower.get(path.replace(" ", "+").replace(">", "%3E"), login=LOGIN)
        assert answer.status == status, path
        assert answer.json["error"]["message"], path


def test_pages_of_the_list_and_of_a_history(flowers: dict[str, Flower]) -> None:
    flower = flowers["login"]
    seen: list[str] = []
    cursor = ""
    while True:
        page = flower.get(f"/api/workflows?limit=3&cursor={cursor}", login=LOGIN).json
        seen += [run["run_id"] for run in page["runs"]]
        cursor = page["cursor"]
        if not cursor:
            break
    assert len(seen) == len(set(seen)) >= 9
    events: list[int] = []
    after: int | None = 0
    while after is not None:
        page = flower.get(f"/api/workflows/runs/order-1/history?limit=5&after={after}", login=LOGIN).json
        events += [event["number"] for event in page["events"]]
        after = page["next"]
    assert events == list(range(1, page["total"] + 1))


def test_a_page_is_sent_again_only_when_something_has_changed(flowers: dict[str, Flower], running: Deployment) -> None:
    flower = flowers["login"]
    handle = running.client.start_workflow("shop:approval", "tag", id="tagged")
    path = "/workflows/run?id=order-3&fragment=1"
    first = flower.get(path, login=LOGIN)
    assert "<html" not in first.text
    again = flower.get(path, login=LOGIN, If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    path = "/workflows/run?id=tagged&fragment=1"
    first = flower.get(path, login=LOGIN)
    handle.signal("decided", "yes")
    assert handle.result(timeout=30) == "yes"
    again = flower.get(path, login=LOGIN, If_None_Match=first.headers["etag"])
    assert again.status == 200
    assert "completed" in again.text


def test_the_tab_stands_in_flowers_own_pages(flowers: dict[str, Flower]) -> None:
    tab = r'<a class="nav-link"\s+href="/workflows"\s*>Workflows</a>'
    for page in ("/workers", "/tasks", "/broker"):
        assert re.search(tab, flowers["login"].get(page, login=LOGIN).text), page
    assert flowers["login"].get("/no/such/page", login=LOGIN).status == 404


def test_another_release_of_flower_shows_the_pages_without_a_tab(flowers: dict[str, Flower]) -> None:
    flower = flowers["no-login"]
    assert "Workflows</a>" not in flower.get("/tasks").text
    page = flower.get("/workflows")
    assert page.status == 200
    assert "order-1" in page.text
    assert "navbar" not in page.text
    warnings = [line for line in flower.log().splitlines() if "workflows" in line and "tested with" in line]
    assert len(warnings) == 1


class TestActions:
    """With a login, each action does what it says."""

    def test_signal_pause_resume_and_cancel(self, flowers: dict[str, Flower], running: Deployment) -> None:
        flower, client = flowers["login"], running.client
        handle = client.start_workflow("shop:approval", 1, id="acted-on")
        path = "/api/workflows/runs/acted-on"
        paused = flower.post(f"{path}/pause", {"note": "lunch"}, login=LOGIN)
        assert (paused.status, paused.json["status"]) == (200, "paused")
        assert handle.describe().paused == "ann: lunch"
        assert flower.post(f"{path}/resume", {}, login=LOGIN).json["status"] == "running"
        sent = flower.post(f"{path}/signal", {"topic": "decided", "payloads": [{"ok": True}]}, login=LOGIN)
        assert sent.status == 200
        assert handle.result(timeout=30) == {"ok": True}
        for verb in ("signal", "cancel", "terminate", "pause", "retry"):
            body = {"topic": "late"} if verb == "signal" else {}
            assert flower.post(f"{path}/{verb}", body, login=LOGIN).status == 409, verb

    def test_start_terminate_and_reset(self, flowers: dict[str, Flower], running: Deployment) -> None:
        flower = flowers["login"]
        body = {"type": "shop:approval", "args": [{"a": [1]}], "id": "begun", "summary": "by hand"}
        begun = flower.post("/api/workflows", body, login=LOGIN)
        assert (begun.status, begun.json["workflow_id"]) == (201, "begun")
        assert flower.post("/api/workflows", body, login=LOGIN).status == 409
        assert flower.post("/api/workflows", {"type": "shop:none"}, login=LOGIN).status == 404
        ended = flower.post("/api/workflows/runs/begun/terminate", {"reason": "no"}, login=LOGIN)
        assert ended.json["status"] == "terminated"
        reason = flower.get("/api/workflows/runs/begun", login=LOGIN).json["reason"]
        assert reason == "no (ann)"
        old = running.client.start_workflow("shop:order", order(1), id="ordered")
        result = old.result(timeout=30)
        fresh = flower.post("/api/workflows/runs/ordered/reset", {"to_event": "start"}, login=LOGIN)
        assert fresh.status == 200
        assert fresh.json["run_id"] != old.run_id
        assert running.client.get_workflow("ordered").result(timeout=30) == result

    def test_release_meets_each_parked_run_once(self, flowers: dict[str, Flower], running: Deployment) -> None:
        """A run that parks again at once, as these do, must not be let go for ever."""
        flower, parked = flowers["login"], running.client.get_workflow("import-of-march")
        wait_until(lambda: parked.describe().status == "parked", deadline_s=60)  # another test may have let it go
        released: list[str] = []
        cursor = ""
        for _ in range(20):
            body = {"limit": 1, "cursor": cursor, "kind": "limit"}
            answer = flower.post("/api/workflows/release", body, login=LOGIN).json
            released += [run["workflow_id"] for run in answer["released"]]
            cursor = answer["cursor"]
            if not cursor:
                break
        assert released == ["import-of-march"]
        assert flower.post("/api/workflows/release", {"kind": "bundle"}, login=LOGIN).json["released"] == []

    def test_schedules(self, flowers: dict[str, Flower], running: Deployment) -> None:
        flower, handle = flowers["login"], running.client.get_schedule("nightly")
        assert flower.post("/api/workflows/schedules/nightly/pause", {"note": "x"}, login=LOGIN).json["paused"] is True
        assert handle.describe().note == "x (ann)"
        assert flower.post("/api/workflows/schedules/nightly/resume", {}, login=LOGIN).json["paused"] is False
        assert flower.post("/api/workflows/schedules/nightly/trigger", {}, login=LOGIN).status == 200
        assert flower.post("/api/workflows/schedules/nightly/delete", {}, login=LOGIN).status == 404

    @pytest.mark.parametrize(("method", "path", "body", "status"), API_CASES)
    def test_who_is_logged_in_may(
        self, flowers: dict[str, Flower], method: str, path: str, body: Any, status: int
    ) -> None:
        path = path.replace("order-", "acted-")
        answer = flowers["login"].ask(method, path, body=body, login=LOGIN)
        assert answer.status in (status, 409), answer.text  # another case may have been there before


def test_flowers_own_list_says_which_workflow_a_task_is_for(flowers: dict[str, Flower], running: Deployment) -> None:
    assert running.app.control.enable_events(reply=True, timeout=20, limit=1)  # Flower asks for them every five seconds
    handle = running.client.start_workflow("shop:order", order(21, rest="300ms"), id="order-21")
    assert handle.result(timeout=60)
    told = {"gallery.reserve", "gallery.charge", "orchestration.resume"}

    def named() -> set[str]:
        tasks = flowers["login"].get("/api/tasks?limit=500", login=LOGIN).json.values()
        return {task["name"] for task in tasks if task["kwargs"] == "workflow order-21 (shop:order)"}

    wait_until(lambda: named() >= told, deadline_s=30, message=lambda: str(named()))


@pytest.mark.slow
def test_without_redis_pages_and_api_say_so(second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    """Nothing hangs: whoever looks is told within seconds, and the event loop goes on meanwhile."""
    with (
        deployed(gallery(), tmp_path, second_redis.url) as deployment,
        start_flower(deployment, f"--basic-auth={LOGIN}") as flower,
    ):  # fmt: skip
        assert flower.get("/workflows", login=LOGIN).status == 200
        second_redis.stop()
        page = flower.get("/workflows", login=LOGIN)
        assert page.status == 503
        assert "no reply from Redis" in page.text
        answer = flower.get("/api/workflows", login=LOGIN)
        assert (answer.status, answer.json["error"]["kind"]) == (503, "StoreUnavailableError")
        assert flower.get("/workflows/static/workflows.css").status == 200
        with ThreadPoolExecutor(48) as people:
            answers = list(people.map(lambda _: flower.get("/workflows", login=LOGIN), range(48)))
        assert {answer.status for answer in answers} == {503}
        crowded = [answer for answer in answers if "requests wait for Redis already" in answer.text]
        assert 0 < len(crowded) < len(answers)

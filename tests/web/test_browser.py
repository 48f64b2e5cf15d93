"""The approval example and the admin in a real browser: asked for, approved, watched, steered; wide and narrow."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery

from orchestration import Client, Orchestration
from orchestration.embedded import EmbeddedRedis
from tests.support import wait_until
from tests.support.fixtures import empty_database
from tests.web.approval_site import FOLDER, approval_site
from tests.web.browser import chromium, screenshot
from tests.web.site import WebProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WIDTHS = (1280, 390)
EVIL = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


@pytest.fixture(scope="module")
def site_redis(redis_server: EmbeddedRedis) -> str:
    return empty_database(redis_server)


@pytest.fixture(scope="module")
def web(site_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with approval_site(tmp_path_factory.mktemp("approval"), site_redis) as site:
        with logged_in(site, "ann") as ann:
            assert "Nobody has asked for anything yet" in ann.get("/").text  # before any test has
        yield site


@contextlib.contextmanager
def logged_in(web: WebProcess, name: str) -> Iterator[httpx.Client]:
    """Somebody without a browser."""
    with httpx.Client(base_url=web.url, timeout=60) as person:
        token = person.get("/login/").cookies["csrftoken"]
        form = {"username": name, "password": "approval", "csrfmiddlewaretoken": token}
        assert person.post("/login/", data=form).status_code == 302
        yield person


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found
        problems = [
            line for line in found.get_log("browser")
            if line["level"] == "SEVERE" and "favicon" not in line["message"] and "404" not in line["message"]
        ]
        assert not problems, problems


class Person:
    """Somebody at a browser."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser = browser
        self.url = url

    def go(self, path: str) -> None:
        self.browser.get(f"{self.url}{path}")

    def find(self, selector: str) -> Any:
        from selenium.webdriver.common.by import By

        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def has(self, selector: str) -> bool:
        from selenium.webdriver.common.by import By

        return bool(self.browser.find_elements(By.CSS_SELECTOR, selector))

    def fill(self, form: str, **fields: str) -> None:
        for name, text in fields.items():
            field = self.find(f"{form} [name={name}]")
            field.clear()
            field.send_keys(text)

    def log_in(self, name: str, path: str = "/login/") -> None:
        self.browser.delete_all_cookies()
        self.go(path)
        self.fill("form", username=name, password="approval")
        self.find("form [name=password]").submit()
        wait_until(lambda: "login" not in self.browser.current_url, deadline_s=30)

    def wait_for(self, selector: str, text: str) -> None:
        from selenium.common.exceptions import WebDriverException

        def shown() -> bool:
            try:
                return text in self.find(selector).text
            except WebDriverException:  # the page is being replaced
                return False

        wait_until(shown, deadline_s=60, message=lambda: f"{text!r} in {selector}: {self.find('body').text[:800]}")


def pictures(browser: Any, folder: Path, name: str) -> None:
    for width in WIDTHS:
        screenshot(browser, folder / f"{name}-{width}.png", width=width)


@contextlib.contextmanager
def client_of(redis_url: str) -> Iterator[Client]:
    """A client beside the site."""
    app = Celery("beside", broker=redis_url, backend=redis_url, set_as_current=False)
    orchestration = Orchestration(app, config=FOLDER / "purchases" / "workflows")
    try:
        yield Client(app)
    finally:
        orchestration.runtime.close()
        app.close()


def test_asked_for_and_approved(web: WebProcess, browser: Any, tmp_path: Path) -> None:
    person = Person(browser, web.url)
    person.log_in("ann")
    pictures(browser, tmp_path, "list")
    person.fill("#ask", what=EVIL, amount="120")
    person.find("#ask button").click()
    person.wait_for("#workflow", "running")
    assert EVIL in person.find("h1").text
    assert not person.has("#decide"), "who asks does not decide"
    page = browser.current_url.removeprefix(web.url)
    pictures(browser, tmp_path, "waiting")

    person.log_in("max")
    person.go(page)
    person.fill("#decide", note="fine")
    pictures(browser, tmp_path, "decide")
    person.find("#decide [value=yes]").click()
    person.wait_for("#state", "ordered")  # without a reload by hand
    person.wait_for("#workflow", "completed")
    assert browser.title != "broken"
    pictures(browser, tmp_path, "ordered")


def test_the_admin(web: WebProcess, browser: Any, tmp_path: Path) -> None:
    person = Person(browser, web.url)
    person.log_in("ann")
    for number in range(3):
        person.go("/")
        person.fill("#ask", what=f"chair {number}", amount=str(100 + number))
        person.find("#ask button").click()
        person.wait_for("#workflow", "running")

    person.log_in("root", "/admin/login/?next=/admin/orchestration/run/")
    person.wait_for("#result_list", "purchase-")
    pictures(browser, tmp_path, "admin-list")
    person.find("#result_list tbody a").click()
    person.wait_for(".orc-facts", "running")
    person.fill("#pause-form", reason=EVIL)
    person.find("#pause-form button").click()
    person.wait_for(".messagelist", "is paused")
    person.wait_for(".orc-facts", "paused")
    person.find("#resume-form button").click()
    person.wait_for(".orc-facts", "running")
    person.fill("#signal-form", topic=EVIL, value='{"approved": true, "by": "root"}')
    person.find("#signal-form button").click()
    person.wait_for(".messagelist", "has been sent")
    wait_until(lambda: browser.refresh() or "completed" in person.find(".orc-facts").text, deadline_s=60)
    assert "purchases:order" in person.find(".orc-timeline").text
    assert EVIL in person.find(".orc-timeline").text
    assert person.has("rect.orc-bar-completed")
    assert browser.title != "broken"
    pictures(browser, tmp_path, "admin-run")
    person.go("/admin/orchestration/run/start/")
    pictures(browser, tmp_path, "admin-start")
    person.go("/admin/orchestration/outboxentry/")
    person.wait_for("#result_list", "Sent")
    pictures(browser, tmp_path, "admin-outbox")


def test_ten_thousand_runs_and_a_run_of_two_thousand_events(
    web: WebProcess, site_redis: str, browser: Any, tmp_path: Path
) -> None:
    person = Person(browser, web.url)
    with client_of(site_redis) as client:
        for number in range(10_000):
            client.start_workflow(
                "purchases:approve", {"purchase": 0, "remind_after": "1h"}, id=f"many-{number:05}",
                start_delay=timedelta(days=1),
            )  # fmt: skip
        long = client.start_workflow("purchases:approve", {"purchase": 999, "remind_after": "5ms"}, id="long")
        wait_until(lambda: long.describe().history_length >= 2000, deadline_s=200, every_s=0.5)
        long.pause("long enough")
    person.log_in("root", "/admin/login/?next=/admin/orchestration/run/")
    person.wait_for("#result_list", "many-09999")
    assert int(person.find(".orc-counts b").text) > 10_000
    pictures(browser, tmp_path, "many")
    person.go("/admin/orchestration/run/?q=long")
    person.find("#result_list tbody a").click()
    person.wait_for(".orc-facts", "paused")
    person.wait_for(".orc-timeline", "purchases:remind")
    pictures(browser, tmp_path, "long")


def test_the_example_protects_itself(web: WebProcess) -> None:
    """Login, permission, CSRF and markup on every page of the example."""
    paths = re.findall(r'path\("([^"]*)"', (FOLDER / "purchases" / "urls.py").read_text("utf-8"))
    assert set(paths) == {"", "<int:pk>/", "<int:pk>/decide/", "<int:pk>/status/"}, "a page without a test below"
    with httpx.Client(base_url=web.url, timeout=60) as stranger:
        for path in ("/", "/1/"):
            answer = stranger.get(path)
            assert answer.status_code == 302
            assert "/login/" in answer.headers["Location"]
        assert stranger.get("/1/status/").status_code == 401
        assert stranger.post("/1/decide/").status_code == 403  # no CSRF token
    with logged_in(web, "ann") as ann:
        token = ann.cookies["csrftoken"]
        assert ann.post("/", data={"what": "x", "amount": "1"}).status_code == 403  # no token
        made = ann.post("/", data={"what": EVIL, "amount": "1", "csrfmiddlewaretoken": token})
        page = made.headers["Location"]
        for path in ("/", page):
            text = ann.get(path).text
            assert "<script>document" not in text
            assert "&lt;script&gt;document" in text
        refused = ann.post(f"{page}decide/", data={"approved": "yes", "csrfmiddlewaretoken": token})
        assert refused.status_code == 403  # she may not decide
        assert ann.get(f"{page}status/").json()["state"] == "waiting"
        assert ann.get(f"{page}decide/").status_code == 405
        for number in ("9" * 30, "9" * 5000, "0", "-1", "%00", "\u0663"):
            assert ann.get(f"/{number}/").status_code == 404, number
            assert ann.get(f"/{number}/status/").status_code == 404, number
        free = ann.post("/", data={"what": "x", "amount": "0", "csrfmiddlewaretoken": token})
        assert "Ensure this value" in free.text

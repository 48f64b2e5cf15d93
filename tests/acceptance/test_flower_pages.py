"""The pages about workflows in a real browser, at the widths of a desk and of a telephone."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver.support.ui import Select

from orchestration import WorkflowHandle
from orchestration.core.export import as_json, explain_event
from orchestration.embedded import EmbeddedRedis
from tests.support.browser import Browser
from tests.support.fixtures import empty_database
from tests.support.flower import LOGIN, UNTESTED, Flower, start_flower
from tests.support.gallery import MARKUP, gallery, hang_gallery, order
from tests.support.pages import Page
from tests.support.projects import Deployment, deployed
from tests.support.waiting import wait_until

project = gallery(with_processes=True)

PAGES = (
    "/workflows", "/workflows?status=failed&where=amount+%3E+1", "/workflows?where=amount+over", "/workflows/start",
    "/workflows/parked", "/workflows/schedules", "/workflows/processes", "/workflows/run?id=none",
)  # fmt: skip
WIDTHS = (1280, 390)
NUMBERS = "[9007199254740993, 10.0, 1.2345678901234567e+19, -0.0, 9223372036854775807]"
"""A browser has none of them: one is the next id in it, 10.0 is an integer, others have other digits."""
PAGE = Page("docs/how-to/flower.md")
(_, START), REQUESTS = PAGE.commands("celery -A celery_app flower"), PAGE.commands("curl")


@pytest.fixture(scope="module")
def flower(running: Deployment) -> Iterator[Flower]:
    assert START[:4] == ["celery", "-A", "celery_app", "flower"]
    assert LOGIN in START[4]
    with start_flower(running, *START[4:]) as flower:
        yield flower


@pytest.fixture
def window(browser: Browser) -> Iterator[Browser]:
    """A window whose page has nothing to complain of when the test is over."""
    browser.resize(1280)
    browser.darken(dark=False)
    browser.errors()
    yield browser
    # A page that is left while it loads says so; a page that answers 400 or 404 is named as such.
    problems = [text for text in browser.errors() if "status of 40" not in text]
    assert problems == []


def test_the_api_is_asked_as_the_page_says(running: Deployment, flower: Flower) -> None:
    handle = running.client.start_workflow("shop:approval", {"what": "chair"}, id="order-7")
    wait_until(lambda: handle.describe().places, deadline_s=60)
    answers = []
    for words in REQUESTS:
        ours = [word.replace("http://localhost:5555", flower.url) for word in words]
        answers.append(json.loads(subprocess.run([*ours, "-sf"], capture_output=True, timeout=60, check=True).stdout))
    assert "runs" in answers[0]
    assert answers[1]["workflow_id"] == "order-7"
    assert handle.result(timeout=30)


def test_a_run_is_found_told_something_and_seen_to_end(window: Browser, running: Deployment, flower: Flower) -> None:
    handle = running.client.start_workflow("shop:approval", {"what": MARKUP}, id="approve-me")
    wait_until(lambda: handle.describe().places, deadline_s=60)
    window.open(f"{flower.url}/workers", login=LOGIN)
    window.follow("Workflows")
    window.write("input[name=id]", "approve")
    window.click("form button[type=submit]")
    window.click(".wf-id a")
    window.wait_for_text("h1", "approve-me")
    window.wait_for_text(".wf-waits", "listen:receive decided")
    window.click("[data-dialog=wf-signal]")
    window.write("#wf-signal input[name=topic]", "decided")
    window.write("#wf-signal textarea", '["yes", ')
    window.click("#wf-signal button[type=submit]")
    window.wait_for_text("#wf-signal .wf-problem", "not valid JSON")
    window.write("#wf-signal textarea", '[{"approved": true}]')
    window.click("#wf-signal button[type=submit]")
    window.wait_for_text(".wf-run-line", "completed")  # by itself: nothing is loaded again
    window.wait_for_text("[data-region=values]", '"approved": true')
    assert handle.result(timeout=5) == {"approved": True}
    window.resize(390)
    assert not window.is_wider_than_the_window()
    assert window.run("window.broken") is None


def test_numbers_of_an_input_arrive_as_they_are_written(window: Browser, running: Deployment, flower: Flower) -> None:
    window.open(f"{flower.url}/workflows/start", login=LOGIN)
    window.write("input[name=type]", "shop:approval")
    window.write("input[name=id]", "numbers")
    window.write("textarea[name=args]", "[9223372036854775808]")
    window.click("#wf-start-form button[type=submit]")
    window.wait_for_text("#wf-start-form .wf-problem", "64 bits")
    window.write("textarea[name=args]", NUMBERS.replace("1.2345678901234567e+19", "12345678901234567890.12"))
    window.click("#wf-start-form button[type=submit]")
    window.wait_for_text("h1", "numbers")
    assert _input(running.client.get_workflow("numbers")) == NUMBERS
    window.wait_for_text("[data-region=values]", "9007199254740993")
    shown = window.text("[data-region=values] pre")
    assert as_json(json.loads(shown)) == NUMBERS
    window.follow("Start again")
    window.write("input[name=id]", "numbers-again")
    window.click("#wf-start-form button[type=submit]")
    window.wait_for_text("h1", "numbers-again")
    assert _input(running.client.get_workflow("numbers-again")) == NUMBERS


def test_numbers_of_a_signal_arrive_as_they_are_written(window: Browser, running: Deployment, flower: Flower) -> None:
    handle = running.client.start_workflow("shop:approval", {"what": "numbers"}, id="numbers-signalled")
    window.open(f"{flower.url}/workflows/run?id={handle.id}", login=LOGIN)
    window.click("[data-dialog=wf-signal]")
    window.write("#wf-signal input[name=topic]", "decided")
    window.run(
        "void (document.querySelector('#wf-signal textarea').value = '[\"\\ud800\"]')"
    )  # would arrive as another one
    window.click("#wf-signal button[type=submit]")
    window.wait_for_text("#wf-signal .wf-problem", "half a character")
    window.write("#wf-signal textarea", f"[{NUMBERS}]")
    window.click("#wf-signal button[type=submit]")
    assert as_json(handle.result(timeout=60)) == NUMBERS


def _input(handle: WorkflowHandle) -> str:
    """The arguments of a run, as its history has them."""
    return as_json(explain_event(next(iter(handle.raw_history(stop=1))))[2]["args"])


@pytest.fixture(scope="module")
def hung(running: Deployment) -> Deployment:
    hang_gallery(running.client)
    return running


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_every_page_fits_and_runs_no_script_of_a_run(
    window: Browser, hung: Deployment, flower: Flower, width: int, dark: bool
) -> None:
    window.resize(width)
    window.darken(dark=dark)
    runs = hung.client.list_workflows(limit=20)
    paths = [*PAGES, *(f"/workflows/run?id={quote(run.workflow_id, safe='')}" for run in runs)]
    for path in paths:
        window.open(flower.url + path, login=LOGIN)
        window.find("#workflows")
        assert not window.is_wider_than_the_window(), path
        # Flower's own green has 3.6 where a filter is chosen, and 4.3 elsewhere.
        assert window.unreadable("#workflows", least=3.5) == [], path
        assert window.run("window.broken") is None, path
        assert window.run("document.querySelectorAll('#workflows script, #workflows img').length") == 0, path
    assert window.run("document.documentElement.dataset.bsTheme") == ("dark" if dark else "light")


@pytest.fixture(scope="module")
def untested(hung: Deployment) -> Iterator[Flower]:
    """A release of Flower that the pages do not know."""
    with start_flower(hung, f"--basic-auth={LOGIN}", name="untested", before=("-c", UNTESTED)) as flower:
        yield flower


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_every_page_fits_in_the_plain_frame(
    window: Browser, hung: Deployment, untested: Flower, width: int, dark: bool
) -> None:
    window.resize(width)
    window.darken(dark=dark)
    for path in (*PAGES, "/workflows/run?id=order-2", "/workflows/run?id=order-3", "/workflows/run?id=order-4"):
        window.open(untested.url + path, login=LOGIN)
        window.find("body.wf-plain #workflows")
        assert not window.is_wider_than_the_window(), path
        assert window.unreadable("#workflows") == [], path


@pytest.mark.slow
def test_markup_is_shown_as_it_is_written(window: Browser, hung: Deployment, flower: Flower) -> None:
    window.open(f"{flower.url}/workflows/run?id={quote(MARKUP, safe='')}", login=LOGIN)
    assert window.text("h1") == MARKUP
    assert MARKUP in window.text(".wf-banner-danger")
    assert MARKUP in window.text("[data-region=values]").replace('\\"', '"')


@pytest.mark.slow
def test_actions_on_a_run(window: Browser, hung: Deployment, flower: Flower) -> None:
    client = hung.client
    handle = client.start_workflow("shop:order", order(12, rest="24h"), id="order-12")
    wait_until(lambda: handle.describe().places, deadline_s=60)
    window.open(f"{flower.url}/workflows/run?id=order-12", login=LOGIN)
    window.wait_for_text(".wf-line-here", "time.sleep")
    window.click("[data-dialog=wf-pause]")
    window.write("#wf-pause input[name=note]", "a moment")
    window.click("#wf-pause button[type=submit]")
    window.wait_for_text(".wf-banner", "ann: a moment")
    window.click("[data-act=resume]")
    window.wait_for_text(".wf-run-line", "running")
    window.click("#wf-source-0 summary")
    handle.signal("unheard", MARKUP)  # the page changes, what was opened stays open
    window.wait_for_text("[data-region=history]", "unheard")
    assert window.find("#wf-source-0").get_attribute("open") is not None
    window.click("[data-dialog=wf-reset]")
    window.click("#wf-reset button[type=submit]")
    window.until(lambda: f"run={client.get_workflow('order-12').run_id}" in window.driver.current_url, "the new run")
    assert client.get_workflow("order-12").run_id != handle.run_id
    window.click("[data-dialog=wf-terminate]")
    window.write("#wf-terminate input[name=reason]", "enough")
    window.click("#wf-terminate button[type=submit]")
    window.wait_for_text(".wf-run-line", "terminated")
    window.wait_for_text("[data-region=values]", "enough (ann)")


@pytest.mark.slow
def test_a_run_is_started_again_with_other_input(window: Browser, hung: Deployment, flower: Flower) -> None:
    window.open(f"{flower.url}/workflows/run?id=order-1", login=LOGIN)
    window.follow("Start again")
    field = window.find("textarea[name=args]")
    assert '"order-1"' in str(field.get_attribute("value"))
    window.write("textarea[name=args]", '[{"id": "edited", "customer": "Eve", "amount": 1, "items": []}]')
    window.write("input[name=id]", "order-1-again")
    window.click("#wf-start-form button[type=submit]")
    window.wait_for_text("h1", "order-1-again")
    result = hung.client.get_workflow("order-1-again").result(timeout=60)
    assert result["label"] == "label of edited"


@pytest.mark.slow
def test_filters(window: Browser, hung: Deployment, flower: Flower) -> None:
    window.open(f"{flower.url}/workflows", login=LOGIN)
    Select(window.find("select[name=type]")).select_by_value("shop:order")
    window.write("input[name=where]", 'customer = "Dara" and amount > 50')
    window.click("form button[type=submit]")
    window.wait_for_text(".wf-id", "order-3")
    assert len(window.all("tbody tr")) == 1
    window.follow("Completed")
    window.wait_for_text(".wf-empty", "No run like that")
    window.follow("Clear")
    window.wait_for_text(".wf-table", "order-1")


@pytest.mark.slow
def test_parked_runs_are_let_go_together(window: Browser, hung: Deployment, flower: Flower) -> None:
    count = 3
    for number in range(count - 1):
        hung.client.start_workflow("shop:broken", number, id=f"import-{number}")
    wait_until(lambda: hung.client.count_workflows()["parked"] == count, deadline_s=120)
    window.open(f"{flower.url}/workflows/parked", login=LOGIN)
    window.write("input[name=rate]", "2")
    window.click("#wf-release button[type=submit]")
    window.wait_for_text(".wf-progress", f"Done: {count} of them retried")
    wait_until(lambda: hung.client.count_workflows()["parked"] == count, deadline_s=120)  # they are as broken as before
    window.wait_for_text("[data-region=parked]", f"{count} parked")


@pytest.mark.slow
def test_processes_and_services(window: Browser, hung: Deployment, flower: Flower) -> None:
    window.open(f"{flower.url}/workflows/processes", login=LOGIN)
    window.wait_for_text("[data-region=services]", "running")
    window.click("[data-act=stop]")
    window.wait_for_text("[data-region=services]", "stopped")
    window.click("[data-act=start]")
    window.wait_for_text("[data-region=services]", "running")


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_of_two_thousand_events(window: Browser, hung: Deployment, flower: Flower, width: int) -> None:
    handle = hung.client.start_workflow("shop:import", 1000, id=f"import-at-{width}")
    assert handle.result(timeout=300) == 1000
    total = handle.describe().history_length
    assert total > 2000
    window.resize(width)
    window.open(f"{flower.url}/workflows/run?id={handle.id}", login=LOGIN)
    assert len(window.all(".wf-history tbody tr")) == 100
    assert window.all(f"#event-{total}")
    assert len(window.all(".wf-bar")) == 1000
    assert not window.is_wider_than_the_window()
    window.follow("First")
    window.find("#event-1")
    window.follow("Later")
    window.find("#event-101")


@pytest.fixture(scope="module")
def idle(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, Flower]]:
    """A deployment without workers."""
    folder: Path = tmp_path_factory.mktemp("idle")
    with contextlib.ExitStack() as stack:
        deployment = stack.enter_context(deployed(gallery(), folder, empty_database(redis_server)))
        yield deployment, stack.enter_context(start_flower(deployment, f"--basic-auth={LOGIN}", name="idle"))


@pytest.mark.slow
def test_an_empty_system_and_ten_thousand_runs(window: Browser, idle: tuple[Deployment, Flower]) -> None:
    deployment, flower = idle
    told = {"": "No runs yet", "/parked": "No run is parked", "/schedules": "No schedules yet",
            "/processes": "No processes"}  # fmt: skip
    for width in WIDTHS:
        window.resize(width)
        for path, text in told.items():
            window.open(f"{flower.url}/workflows{path}", login=LOGIN)
            window.wait_for_text("#workflows", text)
            assert not window.is_wider_than_the_window()
    for number in range(10_000):
        deployment.client.start_workflow("shop:order", {"number": number}, id=f"bulk-{number:05}",
                                         search={"number": number})  # fmt: skip
    for width in WIDTHS:
        window.resize(width)
        window.open(f"{flower.url}/workflows", login=LOGIN)
        window.wait_for_text(".task-state-filters", "10,000")
        assert len(window.all(".wf-id")) == 50
        assert window.text(".wf-id") == "bulk-09999\nnumber 9999"
        assert not window.is_wider_than_the_window()
        window.follow("Earlier runs")
        window.wait_for_text(".wf-id", "bulk-09949")
        window.open(f"{flower.url}/workflows?where=number+%3C+20", login=LOGIN)
        window.wait_for_text(".wf-pager", "20 runs")

"""``python -m tests.web.pictures``: the pictures of docs/how-to/django.md, from the example in a real browser.

``--check FOLDER`` writes every page of the example and of its admin instead, to be looked at at both widths, in light
and dark: empty, with some runs, with ten thousand, and with a run of two thousand events; and says how
long each page took.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestration.embedded import EmbeddedRedis
from tests.support import wait_until
from tests.support.browser import Browser
from tests.support.workers import ROOT
from tests.web.approval_site import approval_site
from tests.web.browser import chromium, screenshot
from tests.web.test_browser import EVIL, WIDTHS, Person, client_of

IMAGES = ROOT / "docs" / "images"
RUNS, OUTBOX = "/admin/orchestration/run/", "/admin/orchestration/outboxentry/"


def shoot(person: Person, folder: Path, pages: dict[str, str]) -> None:
    """Every page at both widths."""
    for name, path in pages.items():
        person.go(path)
        print(f"{folder.name}/{name}: {Browser(person.browser).times()}")
        for width in WIDTHS:
            screenshot(person.browser, folder / f"{name}-{width}.png", width=width, most_height=4000)


def darken(browser: Any, *, dark: bool) -> None:
    """Prefer dark colours or light ones."""
    wish = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wish]})


def check(folder: Path) -> None:
    """Write every page."""
    admin = {"admin-list": RUNS, "admin-start": f"{RUNS}start/", "admin-outbox": OUTBOX, "admin-index": "/admin/"}
    with tempfile.TemporaryDirectory() as place, EmbeddedRedis() as server:
        redis_url = server.url_of(0)
        with approval_site(Path(place), redis_url) as web, chromium() as browser, client_of(redis_url) as client:
            person = Person(browser, web.url)
            shoot(person, folder / "empty", {"login": "/login/"})
            person.log_in("ann")
            shoot(person, folder / "empty", {"approval": "/"})
            person.log_in("root", "/admin/login/?next=/admin/")
            shoot(person, folder / "empty", admin)

            person.log_in("ann")
            for what, amount in (("Espresso machine", "800"), (EVIL, "640"), ("x" * 120, "99999")):
                person.go("/")
                person.fill("#ask", what=what, amount=amount)
                person.find("#ask button").click()
                person.wait_for("#workflow", "running")
            person.log_in("max")
            person.go("/2/")
            person.fill("#decide", note=EVIL)
            person.find("#decide [value=no]").click()
            person.wait_for("#workflow", "completed")
            shoot(person, folder / "some", {"approval": "/", "decide": "/1/", "decided": "/2/", "long-name": "/3/"})
            long_id = "a-very-long-" * 20
            waits = {"purchase": 0, "note": EVIL, "remind_after": "1h"}
            client.start_workflow("purchases:approve", waits, id=long_id, summary="s" * 300)
            client.start_workflow("purchases:approve", waits, id="paused", summary=EVIL, search={"amount": 7})
            client.start_workflow("purchases:approve", {"purchase": [EVIL], "remind_after": EVIL}, id="fails")
            client.get_workflow("paused").pause(EVIL, by="ann")
            many = client.start_workflow("purchases:approve", {"purchase": 999, "remind_after": "5ms"}, id="long")
            wait_until(lambda: many.describe().history_length >= 2000, deadline_s=200, every_s=0.5)
            many.pause("long enough")
            person.log_in("root", "/admin/login/?next=/admin/")
            names = ("purchase-1", "purchase-2", "paused", "fails", "long")
            runs = {name: f"{RUNS}show/?workflow={name}" for name in names}
            pages = {
                **admin, **runs, "long-id": f"{RUNS}show/?workflow={long_id}", "middle": f"{runs['long']}&after=1000",
                "filtered": f"{RUNS}?status=completed&q=pur", "none": f"{RUNS}?q=zebra",
                "mistake": f"{RUNS}?where=a+over", "entry": f"{OUTBOX}1/change/",
                "missing": f"{RUNS}show/?workflow=zebra",
            }  # fmt: skip
            shoot(person, folder / "some", pages)
            darken(browser, dark=True)
            shoot(person, folder / "dark", pages)
            darken(browser, dark=False)
            delay = timedelta(days=1)
            for number in range(10_000):
                client.start_workflow("purchases:approve", waits, id=f"many-{number:05}", start_delay=delay)
            shoot(person, folder / "many", {"admin-list": RUNS, "conditions": f"{RUNS}?where=id+prefix+'many-0'"})


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask for things, decide on some, and take pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", metavar="FOLDER", type=Path, help="every page at every width, into this folder")
    given = parser.parse_args(arguments)
    if given.check is not None:
        check(given.check)
        return
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis() as server:
        with approval_site(Path(folder), server.url_of(0), remind="2s") as web, chromium() as browser:
            person = Person(browser, web.url)
            person.log_in("ann")
            for what, amount in (("Espresso machine", "800"), ("Two monitors", "640"), ("Standing desk", "450")):
                person.go("/")
                person.fill("#ask", what=what, amount=amount)
                person.find("#ask button").click()
                person.wait_for("#workflow", "running")
            wait_until(lambda: browser.refresh() or "Reminders" in person.find("dl").text, deadline_s=60, every_s=1)
            person.log_in("max")
            for page, answer in (("/2/", "yes"), ("/1/", "no")):
                person.go(page)
                person.find(f"#decide [value={answer}]").click()
                person.wait_for("#workflow", "completed")
            person.go("/3/")
            person.wait_for("#workflow", "running")
            person.fill("#decide", note="The old one is broken")
            for width in WIDTHS:
                screenshot(browser, IMAGES / f"django-approval-{width}.png", width=width)
            person.log_in("root", "/admin/login/?next=/admin/orchestration/run/")
            person.wait_for("#result_list", "purchase-3")
            for width in WIDTHS:
                screenshot(browser, IMAGES / f"django-admin-list-{width}.png", width=width)
            person.find("#result_list tbody a").click()
            person.wait_for(".orc-facts", "running")
            for width in WIDTHS:
                screenshot(browser, IMAGES / f"django-admin-run-{width}.png", width=width)


if __name__ == "__main__":
    main()

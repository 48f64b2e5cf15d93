"""``python -m tests.web.pictures``: the pictures of docs/how-to/django.md, from the example in a real browser."""

from __future__ import annotations

import tempfile
from pathlib import Path

from orchestration.embedded import EmbeddedRedis
from tests.support import wait_until
from tests.support.workers import ROOT
from tests.web.approval_site import approval_site
from tests.web.browser import chromium, screenshot
from tests.web.test_browser import WIDTHS, Person

IMAGES = ROOT / "docs" / "images"


def main() -> None:
    """Ask for things, decide on some, and take pictures."""
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

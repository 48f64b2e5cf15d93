"""A real headless Chromium that tests drive: Debian's ``chromium`` and ``chromium-driver``."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pytest

from tests.support.waiting import wait_until

if TYPE_CHECKING:  # every test would wait for its import
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

__all__ = ["Browser", "browser", "open_browser"]

T = TypeVar("T")

_FLAGS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--disable-dev-shm-usage",
)  # fmt: skip
_DEADLINE_S: Final = 20.0
_UNREADABLE: Final = """
  const channel = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const read = text => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const behind = e => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const sheets = [];
    for (; e; e = e.parentElement) sheets.push(read(getComputedStyle(e).backgroundColor));
    return sheets.reverse().reduce((below, sheet) => over(sheet, below), dark ? [18, 18, 18] : [255, 255, 255]);
  };
  const found = new Map();
  for (const e of document.querySelectorAll(arguments[0] + " *")) {
    const own = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent.trim()).join("");
    if (!own || !e.checkVisibility() || e.closest("svg, [disabled]")) continue;
    const style = getComputedStyle(e), below = behind(e);
    if (!/^rgb/.test(style.color)) continue;
    const one = light(over(read(style.color), below)), other = light(below);
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const isLarge = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.5 && style.fontWeight >= 600);
    if (ratio >= (isLarge ? 3 : arguments[1])) continue;
    found.set(e.tagName + "." + e.className, ratio.toFixed(2) + " " + own.slice(0, 30));
  }
  return [...found].map(pair => pair.join(" "));
"""
"""Texts whose contrast is below what is asked for, as WCAG 2 reckons it; it asks for 4.5 (AA)."""


class Browser:
    """One window. Made by :func:`open_browser`."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def resize(self, width: int, height: int = 900) -> None:
        """Make the window so large; below 500 wide it is a telephone."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def darken(self, *, dark: bool = True) -> None:
        """Prefer dark colours, as the system of a reader may; a page sees it when it is loaded."""
        wish = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # else it may scroll still when it is to be clicked
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wish})

    def open(self, url: str, *, login: str = "") -> None:
        """Load a page."""
        if login:
            scheme, _, rest = url.partition("://")
            url = f"{scheme}://{login}@{rest}"
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        """The first element that a CSS selector finds, once there is one that is shown."""

        def look() -> WebElement | None:
            for element in self.driver.find_elements("css selector", selector):
                if element.is_displayed():
                    return element
            return None

        found = self.until(look, f"{selector} on {self.driver.current_url}")
        assert found is not None
        return found

    def all(self, selector: str) -> list[WebElement]:
        """All elements that a CSS selector finds now."""
        return self.driver.find_elements("css selector", selector)

    def click(self, selector: str) -> None:
        """Click on what is found; parts of the page may be replaced meanwhile."""

        def attempt() -> bool:
            self._click(self.find(selector))
            return True

        self.until(attempt, f"a click on {selector}")

    def follow(self, text: str) -> None:
        """Click on the link whose text begins so."""

        def attempt() -> bool:
            link = next(one for one in self.all("a") if one.text.startswith(text) and one.is_displayed())
            self._click(link)
            return True

        self.until(attempt, f"the link {text!r}")

    def _click(self, element: WebElement) -> None:
        """Click where nothing that stays at the edge of the window can be in the way."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'});", element)
        element.click()

    def write(self, selector: str, text: str) -> None:
        """Put a text into a field, in the place of what is in it."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def text(self, selector: str) -> str:
        """The text of what is found."""
        return self.until(lambda: self.find(selector).text, f"text of {selector}")

    def wait_for_text(self, selector: str, text: str) -> None:
        """Wait until what is found has a text in it."""
        self.until(lambda: text in self.find(selector).text, f"{text!r} in {selector}")

    def until(self, condition: Callable[[], T], what: str) -> T:
        """Wait for a condition; an element that is replaced meanwhile is looked for again."""

        from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException

        def attempt() -> T | None:
            try:
                return condition()
            except (StaleElementReferenceException, ElementClickInterceptedException):
                return None

        found = wait_until(attempt, deadline_s=_DEADLINE_S, every_s=0.05, message=what)
        assert found is not None
        return found

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression in the page."""
        return self.driver.execute_script(f"return ({script});")

    def errors(self) -> list[str]:
        """What the page has complained of: errors of scripts, and what its content policy has kept out."""
        found = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [line["message"] for line in found if line["level"] in ("SEVERE", "WARNING")]

    def is_wider_than_the_window(self) -> bool:
        """Whether the page would have to be scrolled to the side."""
        # Not innerWidth: on a telephone it grows with what sticks out.
        return bool(self.run("document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    def unreadable(self, selector: str, *, least: float = 4.5) -> list[str]:
        """Texts in what is found whose colour is too like the colour behind them: their contrast is below this."""
        found: list[str] = self.driver.execute_script(_UNREADABLE, selector, least)
        return found

    def times(self) -> str:
        """How long the page took: until the server had answered, and until it was there."""
        took = self.run("performance.getEntriesByType('navigation').map(e => [e.responseEnd, e.loadEventEnd])[0]")
        return f"answered after {took[0] / 1000:.2f} s, there after {took[1] / 1000:.2f} s"

    def picture(self, path: Path, *, tallest: int = 4000) -> None:
        """Write the whole page, down to so many pixels, as PNG."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], tallest), "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser with a profile of its own, for the time of a block.

    Raises:
        FileNotFoundError: Chromium or its driver is not installed.
    """
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        raise FileNotFoundError("Chromium is not installed (Debian: apt-get install chromium chromium-driver)")
    chromium, driver_path = map(str, programs)
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options=options, service=Service(driver_path))
        try:
            yield Browser(driver)
        finally:
            driver.quit()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the whole module."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(open_browser())
        except FileNotFoundError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        yield found

"""The tests' Chromium, as the tests of web frameworks use it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Browser, open_browser

__all__ = ["chromium", "screenshot"]


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A driver of a browser with a profile of its own."""
    with contextlib.ExitStack() as stack:
        try:
            browser = stack.enter_context(open_browser())
        except FileNotFoundError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        browser.driver.set_page_load_timeout(60)
        yield browser.driver


def screenshot(browser: Any, path: Path, *, width: int, most_height: int = 2000) -> None:
    """Write a picture of the whole page at a width; checks that nothing sticks out at the side or is hard to read."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wide, high = browser.execute_script("const e = document.documentElement; return [e.scrollWidth, e.scrollHeight]")
    assert wide <= width, f"{browser.current_url} is {wide} px wide in a window of {width} px"
    unreadable = Browser(browser).unreadable("body")
    assert not unreadable, f"{browser.current_url}: {unreadable}"
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**metrics, "height": min(high, most_height)})
    path.parent.mkdir(parents=True, exist_ok=True)
    browser.save_screenshot(str(path))

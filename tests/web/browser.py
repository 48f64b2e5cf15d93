"""A real headless Chromium of Debian's packages."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["chromium", "screenshot"]


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A driver of a browser with a profile of its own; it looks up nothing beside the pages it is given."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        if os.environ.get("CI"):
            raise AssertionError("Chromium is missing: install Debian's packages chromium and chromium-driver")
        pytest.skip("Chromium is not installed")
    from selenium import webdriver

    profile = Path(tempfile.mkdtemp(prefix="orchestration-browser-"))
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
        "--hide-scrollbars", "--force-color-profile=srgb", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_page_load_timeout(60)
    try:
        yield browser
    finally:
        browser.quit()
        shutil.rmtree(profile, ignore_errors=True)


def screenshot(browser: Any, path: Path, *, width: int, most_height: int = 2000) -> None:
    """Write a picture of the whole page at a width; checks that nothing sticks out at the side."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wide, high = browser.execute_script("const e = document.documentElement; return [e.scrollWidth, e.scrollHeight]")
    assert wide <= width, f"{browser.current_url} is {wide} px wide in a window of {width} px"
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**metrics, "height": min(high, most_height)})
    path.parent.mkdir(parents=True, exist_ok=True)
    browser.save_screenshot(str(path))

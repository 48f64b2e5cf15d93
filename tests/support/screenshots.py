"""Writes the pictures of ``docs/images/``: ``python -m tests.support.screenshots``; says how long each page took.

A small shop is set up on a Redis of its own, with a worker, a Flower and a headless Chromium; all of it is gone
afterwards. ``--check FOLDER`` writes every page instead, to be looked at: in light and dark, at both widths, and in an
empty system and one of ten thousand runs.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from orchestration import ScheduleAction, ScheduleSpec
from orchestration.embedded import EmbeddedRedis
from tests.support.browser import Browser, open_browser
from tests.support.flower import LOGIN, Flower, start_flower
from tests.support.gallery import gallery, hang_gallery, order
from tests.support.projects import Deployment, deployed
from tests.support.waiting import wait_until
from tests.support.workers import ROOT

__all__ = ["WIDTHS", "main"]

WIDTHS: Final = (1280, 390)
_IMAGES: Final = ROOT / "docs" / "images"
_SHOWN: Final = {
    "flower-runs": "/workflows", "flower-run": "/workflows/run?id=order-2",
    "flower-retries": "/workflows/run?id=order-4", "flower-parked": "/workflows/parked",
    "flower-schedules": "/workflows/schedules", "flower-processes": "/workflows/processes",
}  # fmt: skip
_SECTIONS: Final = {name: path for name, path in _SHOWN.items() if "?" not in path}
_CHECKED: Final = {
    **_SHOWN, "flower-long-run": "/workflows/run?id=import-of-april", "flower-start": "/workflows/start?id=order-2",
    "flower-done": "/workflows/run?id=order-1", "flower-failed": "/workflows/run?id=order-3",
    "flower-parked-run": "/workflows/run?id=import-of-march", "flower-paused": "/workflows/run?id=approval-7",
    "flower-none": "/workflows?id=zebra", "flower-mistake": "/workflows?where=amount+over+9",
    "flower-missing": "/workflows/run?id=zebra", "flower-events": "/workflows/run?id=import-of-april&after=100",
}  # fmt: skip


@contextmanager
def shop(*, rows: int = 997) -> Iterator[tuple[Deployment, Flower]]:
    """A deployment with runs of every kind, and a Flower beside it."""
    project = gallery(with_processes=True)
    with (
        EmbeddedRedis() as redis, tempfile.TemporaryDirectory() as folder,
        deployed(project, Path(folder), redis.url) as deployment,
    ):  # fmt: skip
        deployment.worker(options=["-E"])
        client = deployment.client
        hang_gallery(client, markup=False)
        action = ScheduleAction(workflow_type="shop:order", args=[order(9)])
        client.create_schedule("nightly", spec=ScheduleSpec(cron="0 3 * * *"), action=action)
        client.create_schedule(
            "stock-take", spec=ScheduleSpec(interval=dt.timedelta(hours=6)), action=action, paused=True,
            note="until the move is over",
        )  # fmt: skip
        client.get_schedule("nightly").trigger()
        client.start_workflow("shop:import", rows, id="import-of-april").result(timeout=300)
        wait_until(lambda: client.list_services()[0].state == "running", deadline_s=60)
        with start_flower(deployment, f"--basic-auth={LOGIN}") as flower:
            yield deployment, flower


@contextmanager
def empty() -> Iterator[tuple[Deployment, Flower]]:
    """A deployment without workers and runs, and a Flower beside it."""
    with (
        EmbeddedRedis() as redis, tempfile.TemporaryDirectory() as folder,
        deployed(gallery(), Path(folder), redis.url) as deployment,
        start_flower(deployment, f"--basic-auth={LOGIN}") as flower,
    ):  # fmt: skip
        yield deployment, flower


def write(
    browser: Browser, flower: Flower, pages: dict[str, str], folder: Path, *, widths: Sequence[int], tallest: int = 4000
) -> None:  # fmt: skip
    """Write pictures of pages.

    Args:
        browser: Shows them.
        flower: Has them.
        pages: Path by the name of the picture.
        folder: Where they go.
        widths: Of the window; pictures of other widths than the first have it in their names.
        tallest: Where a picture is cut off.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for width in widths:
        browser.resize(width)
        for name, path in pages.items():
            browser.open(flower.url + path, login=LOGIN)
            browser.find("#workflows")
            print(f"{folder.name}/{name} at {width}: {browser.times()}")
            file = f"{name}.png" if width == widths[0] else f"{name}-{width}.png"
            browser.picture(folder / file, tallest=tallest)
            problems = browser.errors()
            if problems and "missing" not in name and "mistake" not in name:
                print(f"{name} at {width}: {problems}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", metavar="FOLDER", type=Path, help="every page at every width, into this folder")
    given = parser.parse_args(arguments)
    with shop() as (_, flower), open_browser() as browser:
        if given.check is None:
            write(browser, flower, _SHOWN, _IMAGES, widths=WIDTHS[:1], tallest=1700)
            write(browser, flower, {"flower-run-390": _SHOWN["flower-run"]}, _IMAGES, widths=WIDTHS[1:], tallest=1700)
            browser.darken()
            write(browser, flower, {"flower-run-dark": _SHOWN["flower-run"]}, _IMAGES, widths=WIDTHS[:1], tallest=1700)
            return
        write(browser, flower, _CHECKED, given.check, widths=WIDTHS)
        browser.darken()
        write(browser, flower, _CHECKED, given.check / "dark", widths=WIDTHS)
        browser.darken(dark=False)
        with empty() as (deployment, quiet):
            write(browser, quiet, _SECTIONS, given.check / "empty", widths=WIDTHS)
            for number in range(10_000):
                deployment.client.start_workflow("shop:order", order(number), id=f"order-{number:05}")
            write(browser, quiet, _SECTIONS, given.check / "large", widths=WIDTHS)


if __name__ == "__main__":
    main()

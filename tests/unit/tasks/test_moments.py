"""Times in Celery's messages mean the same to workflows as to its own tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.worker.request import Request

from orchestration.tasks.moments import growing_pause_s, ms_until


def one() -> None:
    """A task."""


@pytest.mark.parametrize("zone", ["UTC", "Europe/Madrid", "America/New_York"])
@pytest.mark.parametrize("enable_utc", [True, False])
@pytest.mark.parametrize("is_text", [True, False])
@pytest.mark.parametrize("of", [None, UTC, timezone(timedelta(hours=5))])
def test_an_eta_is_when_celerys_worker_says(zone, enable_utc, is_text, of):
    app = Celery("app", broker="memory://", set_as_current=False)
    app.conf.update(timezone=zone, enable_utc=enable_utc)
    app.task(name="one")(one)
    moment = datetime.now(of or UTC).replace(microsecond=0) + timedelta(hours=1)
    moment = moment if of else moment.replace(tzinfo=None)
    told = moment.isoformat()
    headers = {"id": "1", "task": "one", "eta": told}
    message = SimpleNamespace(delivery_info={}, properties={})
    asked = Request(message, app=app, body=[[], {}, {}], headers=headers, decoded=True).eta
    wanted = (asked - app.now()).total_seconds() * 1000
    assert ms_until(told if is_text else moment, app) == pytest.approx(wanted, abs=1000)


def test_what_has_passed_or_is_not_there_is_now():
    app = Celery("app", broker="memory://", set_as_current=False)
    assert ms_until(None, app) == ms_until("", app) == ms_until(-3, app) == 0
    assert ms_until(datetime(2020, 1, 1), app) == 0  # noqa: DTZ001
    assert ms_until(1.5, app) == 1500


def test_a_pause_grows_for_as_many_tries_as_there_are():
    pauses = [growing_pause_s(1.5, tries, longest_s=60) for tries in (0, 1, 5, 6, 1024, 10**9)]
    assert pauses == [1.5, 3, 48, 60, 60, 60]

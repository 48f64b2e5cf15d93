"""Fixtures of the tests of web frameworks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestration.embedded import EmbeddedRedis
from tests.support.fixtures import empty_database
from tests.web.site import Shop, configured

pytest.importorskip("django")


@pytest.fixture(scope="session")
def shop(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The Django project in this process, on a Redis database of its own; no worker."""
    with configured(tmp_path_factory.mktemp("shop"), empty_database(redis_server)) as found:
        yield found


@pytest.fixture(scope="session")
def served(shop: Shop) -> Shop:
    """The project with one worker that serves it."""
    shop.worker()
    return shop


@pytest.fixture
def tables(shop: Shop) -> Any:
    """The outbox's table, empty."""
    from orchestration.integrations.django import sending
    from orchestration.integrations.django.models import OutboxEntry
    from tests.web.shop.orders.models import Note, Order

    for database in ("default", "archive", "private"):
        OutboxEntry.objects.using(database).all().delete()
    Order.objects.all().delete()
    Note.objects.all().delete()
    if sending._process is not None:
        sending._process.quiet_until = 0.0
    return OutboxEntry


@pytest.fixture(autouse=True, scope="module")
def _current_application() -> Iterator[None]:
    """The examples make the Celery application of this process; those of other tests come back after them."""
    from celery import _state

    before = _state._tls.current_app, _state.default_app
    yield
    _state._tls.current_app, _state.default_app = before

"""Fixtures that every folder may use."""

from __future__ import annotations

import os
import signal

import pytest

from orchestration.embedded import SERVER_VARIABLE
from tests.support.browser import browser
from tests.support.fixtures import client, redis_client, redis_server, redis_url, running, second_redis, urls, worker
from tests.support.oldest_redis import oldest_redis
from tests.support.rabbitmq import rabbitmq, rabbitmq_url, second_rabbitmq
from tests.support.redis_servers import redis_cluster
from tests.support.replaying import REPLAY_VARIABLE
from tests.support.workers import ROOT

__all__ = [
    "browser", "client", "rabbitmq", "rabbitmq_url", "redis_client", "redis_cluster", "redis_server", "redis_url",
    "running", "second_rabbitmq", "second_redis", "urls", "worker",
]  # fmt: skip

_WITHOUT_WORKERS = frozenset({"properties", "replay", "store", "unit"})

# A shell starts background jobs with Ctrl-C ignored, and children inherit that: commands under test could not be ended.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--replay-everything", action="store_true",
        help="workers and hand-driven runs keep no machine: each step replays the history on a fresh one",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault(SERVER_VARIABLE, oldest_redis())
    if config.getoption("replay_everything"):
        os.environ[REPLAY_VARIABLE] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the files that start workers begun first: one that is begun last is waited for when all others are done."""
    items.sort(key=lambda item: item.path.relative_to(ROOT / "tests").parts[0] in _WITHOUT_WORKERS)


def pytest_report_header(config: pytest.Config) -> list[str]:
    del config
    return ["replay everything: on"] if os.environ.get(REPLAY_VARIABLE) else []

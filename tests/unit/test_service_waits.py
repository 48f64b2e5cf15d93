"""Waiting for a service that is forgotten meanwhile, and that this application does not have."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.client import services as module
from orchestration.embedded import EmbeddedRedis
from orchestration.errors import EntryNotFoundError
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, Project, deployed

GONE = "app:gone"


@pytest.fixture
def deployment(redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(Project(), tmp_path, empty_database(redis_server)) as deployment:
        yield deployment


@pytest.mark.parametrize("timeout", [0, 60, None])
def test_a_service_that_is_forgotten_is_not_waited_for(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, timeout: float | None
) -> None:
    store = deployment.orchestration.parts.runtime.store("default")
    store.actors._connection.call("ZADD", store.actors._keys.nodes, 1, "one")
    record = store.services.take("one", GONE, digest="d").record
    assert record is not None
    store.services.release("one", record, state="stopped")

    def forgotten_before(act: Callable[..., Any]) -> Callable[..., Any]:
        def forgets(*args: Any) -> Any:
            deployment.client.forget_service(GONE)
            return act(*args)

        return forgets

    if timeout == 0:  # it is forgotten between the last look and the error that says where it stands
        monkeypatch.setattr(module, "list_services", forgotten_before(module.list_services))
    else:
        pauses = SimpleNamespace(monotonic=time.monotonic, sleep=forgotten_before(time.sleep))
        monkeypatch.setattr(module, "time", pauses)
    with pytest.raises(EntryNotFoundError, match=GONE):
        deployment.client.start_service(GONE, wait=True, timeout=timeout)

"""The sweep looks after key-value stores that nobody writes to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from orchestration.registry import load_registry
from orchestration.tasks.stores import StoreTidier
from tests.support.projects import Project

project = Project()
project.entry("often", "store.memory", cleanup_interval="10s")
project.entry("never", "store.memory", cleanup_interval=0)
project.entry("own", "store.memory", cleanup_interval="10s", backend="memory")


class _Items:
    def __init__(self) -> None:
        self.tidied: list[str] = []
        self.has_more = False

    def tidy(self, store_id: str, *, limit: int) -> bool:
        assert limit <= 1000
        self.tidied.append(store_id)
        return self.has_more


def test_each_store_of_the_deployment_in_its_interval(tmp_path: Path) -> None:
    now = [100.0]
    runtime: Any = SimpleNamespace(
        registry=load_registry(project.write(tmp_path)), settings=SimpleNamespace(namespace="default"),
        monotonic=lambda: now[0],
    )  # fmt: skip
    items, tidier = _Items(), StoreTidier(runtime)
    store = cast("Any", SimpleNamespace(items=items))

    def after(seconds: float, namespace: str = "default") -> list[str]:
        now[0] += seconds
        items.tidied.clear()
        tidier.tidy(namespace, store)
        return items.tidied

    assert after(0) == []
    assert after(9) == []
    assert after(1, "other") == []
    assert after(0) == ["app:often"]
    assert after(5) == []
    items.has_more = True
    assert after(5) == ["app:often"]
    assert after(0) == ["app:often"], "the rest waits for no interval"

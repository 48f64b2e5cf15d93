"""The module ``store`` with real workers: one store for all of them, and no write is lost among them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestration import Client
from tests.support.projects import Deployment, Project

project = Project()
project.entry("shared", "store.memory")
project.entry("own", "store.memory", backend="memory")
put = project.function("put", """
    local s = assert(require("store").get("app:shared"))
    return function(key, value, ttl) return assert(s:set(key, value, ttl)) end
""", modules=("store",))  # fmt: skip
count = project.function("count", """
    local store = require("store")
    return function(id, times)
        local s = assert(store.get(id))
        for _ = 1, times do
            local done
            repeat
                local entry, err = s:entry("n")
                if entry then
                    done, err = s:put("n", entry.value + 1, { if_version = entry.version })
                else
                    done, err = s:put("n", 1, { only_if_absent = true })
                end
            until done
        end
        return s:get("n")
    end
""", modules=("store",))  # fmt: skip
through = project.workflow("through", """
    local funcs = require("funcs")
    return function(key) return (funcs.call("app:read", key)) end
""", modules=("funcs",))  # fmt: skip
read = project.function("read", """
    local store, time = require("store"), require("time")
    return function(key)
        local value, err = assert(store.get("app:shared")):get(key)
        return err and err:kind() or value
    end
""", modules=("store", "time"))  # fmt: skip


@pytest.fixture(scope="module")
def two_workers(running: Deployment) -> Client:
    running.worker()
    return running.client


def test_functions_on_different_workers_share_a_store(two_workers: Client) -> None:
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: two_workers.call(count, "app:shared", 10, timeout=60), range(6)))
    assert two_workers.call(count, "app:shared", 0, timeout=30) == 60


def test_a_workflow_reads_a_store_through_a_function(client: Client) -> None:
    client.call(put, "k", {"a": [1, 2]}, timeout=30)
    assert client.start_workflow(through, "k").result(timeout=30) == {"a": [1, 2]}


def test_the_end_of_a_value_is_told_by_the_clock_of_redis(client: Client) -> None:
    client.call(put, "brief", 1, 0.001, timeout=30)
    assert client.call(read, "brief", timeout=30) == "NotFound"

"""The module ``store`` with real workers: one store for all, no write is lost among them, the dead write nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestration import Client
from orchestration.core import payload
from orchestration.embedded import EmbeddedRedis
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, Project, deployed
from tests.support.waiting import wait_until

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
project.entry("host", "process.host")
project.lua("beat", "process.lua", """
    local store, time = require("store"), require("time")
    return function()
        local s, n = assert(store.get("app:shared")), 0
        while true do
            n = n + 1
            s:set(process.pid(), n)
            time.sleep("20ms")
        end
    end
""", method="main", modules=["store", "time"])  # fmt: skip
beats = project.entry("beats", "process.service", process="app:beat", host="app:host")


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


def test_a_process_whose_worker_was_taken_for_dead_writes_nothing_more(
    redis_server: EmbeddedRedis, tmp_path: Path
) -> None:  # fmt: skip
    with deployed(project, tmp_path, empty_database(redis_server)) as deployment:
        client = deployment.client
        items = deployment.orchestration.runtime.store("default").items

        def written(pid: str) -> Any:
            item = items.read("app:shared", pid.encode())
            return 0 if item is None else payload.decode(item.value)

        def running() -> Any:
            (service,) = (found for found in client.list_services() if found.id == beats)
            return service

        workers = [deployment.worker(wait=False), deployment.worker(wait=False)]
        for worker in workers:
            worker.wait_until_ready()
        client.start_service(beats, wait=True, timeout=30)
        first = running()
        wait_until(lambda: written(first.pid) > 3, deadline_s=30)
        owner = next(worker for worker in workers if str(worker.pid) == first.worker.rpartition("/")[2])
        owner.pause()
        wait_until(lambda: running().node not in ("", first.node) and written(running().pid) > 3, deadline_s=60)
        before = written(first.pid)
        owner.resume()
        owner.wait_for_log("has been taken for dead", deadline_s=30)
        count = written(running().pid)
        wait_until(lambda: written(running().pid) >= count + 20, deadline_s=30)
        assert written(first.pid) == before

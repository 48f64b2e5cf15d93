"""A run finishes on the code it started with, whatever is deployed meanwhile; a new run takes the new code."""

from __future__ import annotations

import pytest

from orchestration.errors import EntryNotFoundError
from tests.support import wait_until
from tests.support.projects import Project, deployed

LIBRARY = "return {{ word = '{word}' }}"
WORKFLOW = """
local funcs, words = require("funcs"), require("words")

local function main()
    local before = funcs.call("app:add", 1, {n})
    local go = process.listen("go"):receive()
    local after = funcs.call("app:add", before, {n})
    return {{ code = "{word}", library = words.word, after = after }}
end
return main
"""


def code(word, n, *, name="versioned", tasks=("tests.acceptance.tasks",)):
    """The same project with code A, code B, or without the workflow."""
    project = Project(tasks=tasks)
    project.celery_task("add", "accept.add")
    project.lua("words", "library.lua", LIBRARY.format(word=word))
    if name:
        project.workflow(name, WORKFLOW.format(word=word, n=n), imports={"words": "app:words"})
    return project


A = {"code": "A", "library": "A", "after": 21}
B = {"code": "B", "library": "B", "after": 201}


@pytest.fixture
def on_a(tmp_path, redis_url):
    """A deployment of code A whose worker is gone, and a run of it that waits."""
    with deployed(code("A", 10), tmp_path / "a", redis_url) as deployment:
        worker = deployment.worker()
        handle = deployment.client.start_workflow("app:versioned", id="on-a")
        wait_until(lambda: waits(handle), message="the run waits")
        worker.kill()
        yield deployment, handle


def waits(handle):
    return any("go" in place.waits_for for place in handle.describe().places)


def test_a_run_on_code_a_ends_on_a_worker_that_has_only_code_b(on_a, tmp_path, redis_url):
    _, old = on_a
    with deployed(code("B", 100), tmp_path / "b", redis_url) as deployment:
        deployment.worker()
        new = deployment.client.start_workflow("app:versioned", id="on-b")
        assert new.describe().bundle != old.describe().bundle
        deployment.client.get_workflow("on-a").signal("go")
        new.signal("go")
        assert old.result(timeout=20) == A
        assert new.result(timeout=20) == B


def test_a_run_on_code_a_ends_after_its_entry_was_removed(on_a, tmp_path, redis_url):
    _, old = on_a
    with deployed(code("B", 100, name=""), tmp_path / "b", redis_url) as deployment:
        deployment.worker()
        with pytest.raises(EntryNotFoundError, match="app:versioned"):
            deployment.client.start_workflow("app:versioned")
        found = deployment.client.get_workflow("on-a")
        found.signal("go")
        assert found.result(timeout=20) == A
        assert deployment.app.AsyncResult(old.run_id).get(timeout=10) == A


def test_old_and_new_workers_side_by_side(on_a, tmp_path, redis_url):
    """While a deploy rolls, either worker may be handed any run."""
    on_code_a, old = on_a
    on_code_a.worker()
    with deployed(code("B", 100), tmp_path / "b", redis_url) as deployment:
        deployment.worker()
        starters = (on_code_a.client, deployment.client)
        handles = [client.start_workflow("app:versioned") for _ in range(8) for client in starters]
        for handle in (old, *handles):
            handle.signal("go")
        assert [handle.result(timeout=30) for handle in (old, *handles)] == [A, *[A, B] * 8]


def test_identical_code_is_stored_once(on_a, redis_client):
    deployment, _ = on_a
    for _ in range(3):
        deployment.client.start_workflow("app:versioned")
    (digest,) = {run.bundle for run in deployment.client.list_workflows()}
    keys = [key.decode() for key in redis_client.scan_iter("*:bundle:*")]
    assert 1 <= len(keys) <= 4  # one in each shard that has such a run
    assert all(key.endswith(digest) for key in keys)


def test_a_start_that_no_worker_of_its_code_has_seen(on_a, tmp_path, redis_url):
    """Its message names a task that the worker has not got; Celery alone would call that a failure."""
    on_code_a, _ = on_a
    result = on_code_a.app.send_task("app:versioned")  # written as a run, with its code
    with deployed(code("B", 100, name=""), tmp_path / "b", redis_url) as deployment:
        deployment.worker()
        wait_until(lambda: deployment.client.get_workflow(result.id).describe().places, message="the run moves")
        deployment.client.get_workflow(result.id).signal("go")
        assert result.get(timeout=20) == A


def test_a_run_whose_code_is_lost_is_parked(on_a, tmp_path, redis_url, redis_client):
    _, old = on_a
    (bundle,) = redis_client.scan_iter("*:bundle:*")
    redis_client.delete(bundle)
    with deployed(code("B", 100), tmp_path / "b", redis_url) as later:
        later.worker()
        old.signal("go")
        wait_until(lambda: old.describe().status == "parked", message="parked")
        assert old.describe().bundle in old.describe().parked
        assert old.describe().parked.startswith("bundle: ")

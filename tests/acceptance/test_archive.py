"""Finished histories are archived before the retention deletes them; what is in the archive can be replayed."""

from __future__ import annotations

from pathlib import Path

from orchestration.client import WorkflowHandle
from orchestration.errors import WorkflowNotFoundError
from orchestration.testing import read_history, replay
from tests.support import wait_until
from tests.support.projects import Project, deployed

project = Project(tasks=["tests.acceptance.tasks"])
project.celery_task("add", "accept.add")
sums = project.workflow(
    "sums",
    """
    return function(n)
        local total, problem = require("funcs").call("app:add", n, 1)
        if problem then error(problem) end
        if n < 0 then error("negative") end
        if n == 0 then process.inbox():receive() end
        return total
    end
    """,
)


def test_ended_runs_are_archived_and_go_after_that_alone(tmp_path, redis_url):
    """While the archive cannot be written, the runs stay, beyond their retention."""
    archive = tmp_path / "archive"
    archive.write_text("a file is in the way")
    env = {
        "ORCHESTRATION_ARCHIVE": str(archive), "ORCHESTRATION_RETENTION_MS": "1000",
        "ORCHESTRATION_SWEEP_INTERVAL_MS": "100",
    }  # fmt: skip
    with deployed(project, tmp_path, redis_url, archive=str(archive), retention_ms=1000) as deployment:
        worker = deployment.worker(env=env)
        client = deployment.client
        done = client.start_workflow(sums, 1, id="done/1")
        failed = client.start_workflow(sums, -1, id="failed")
        ended = client.start_workflow(sums, 0, id="ended")
        assert done.result(timeout=20) == 2
        wait_until(lambda: ended.describe().places, message="waiting")
        ended.terminate("enough")
        wait_until(lambda: worker.log().count("run not archived yet") >= 3, deadline_s=20, message="three attempts")
        wait_until(lambda: failed.describe().closed_ms, message="failed")
        runs = {handle.id: (handle.run_id, list(handle.raw_history())) for handle in (done, failed, ended)}
        assert {run.workflow_id for run in client.list_workflows(status="closed")} == set(runs)
        worker.stop()
        archive.unlink()
        keys = deployment.orchestration.runtime.connection
        for shard in deployment.orchestration.runtime.store("default").archives.shards:
            for run_id, _ in runs.values():
                if keys.call("ZSCORE", shard.unarchived, run_id) is not None:
                    keys.call("ZADD", shard.unarchived, 0, run_id)  # the minute of the attempt before is over
        deployment.worker(env=env)
        files = wait_until(lambda: _files(archive, 3), deadline_s=20, message="three files")
        for file in files:
            recorded = read_history(file)
            run_id, events = runs[recorded.workflow_id]
            assert (recorded.run_id, list(recorded.events), file.stem) == (run_id, events, run_id)
            replay(file)
        assert {file.parent.name for file in files} == {"done%2F1", "failed", "ended"}
        assert {read_history(file).status for file in files} == {"completed", "failed", "terminated"}
        wait_until(lambda: client.list_workflows() == [], deadline_s=20, message="gone")
        wait_until(lambda: _is_gone(client.get_workflow("failed", runs["failed"][0])), message="its record gone")


def _is_gone(handle: WorkflowHandle) -> bool:
    try:
        handle.describe()
    except WorkflowNotFoundError:
        return True
    return False


def _files(archive: Path, number: int) -> list[Path]:
    found = sorted(archive.glob("default/*/*/*.jsonl"))
    return found if len(found) == number else []

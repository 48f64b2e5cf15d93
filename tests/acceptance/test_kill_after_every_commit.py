"""No process lives longer than one commit: a workflow that does a bit of everything ends as if nothing had happened."""

from __future__ import annotations

from collections import Counter

import pytest

from orchestration.core import events
from orchestration.testing import replay
from tests.support.orders import shape
from tests.support.programs import add_helpers, make_full_program
from tests.support.projects import Project, deployed

QUICK = {
    "ORCHESTRATION_SWEEP_INTERVAL_MS": "100",
    "ORCHESTRATION_OUTBOX_GRACE_MS": "200",
    "ORCHESTRATION_RESUME_GRACE_MS": "200",
    "ORCHESTRATION_LEASE_MS": "500",
}
"""What was left undone is found soon; it would be found later, too."""

program = make_full_program()
project = Project(tasks=["tests.support.programs"], env=QUICK, pool="prefork", concurrency=2)
add_helpers(project)
full = project.workflow("full", program.source)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_worker_whose_processes_die_after_each_commit_brings_everything_to_its_end(tmp_path, redis_url):
    with deployed(project, tmp_path, redis_url) as deployment:
        worker = deployment.worker()
        undisturbed = deployment.client.start_workflow(full, id="undisturbed")
        assert undisturbed.result(timeout=60) == program.result
        worker.stop()

        mortal = deployment.worker(env={"ORCHESTRATION_FAULT": "after_commit:1:"})
        handle = deployment.client.start_workflow(full, id="full")
        assert handle.result(timeout=300) == program.result
        assert mortal.is_running

        history = list(handle.history())
        assert shape(history) == shape(undisturbed.history())
        answered = Counter(
            event.seq for event in history if isinstance(event, events.ActivityCompleted | events.ActivityFailed)
        )
        assert set(answered.values()) == {1}
        deaths = mortal.log().count("signal 9 (SIGKILL)")
        assert deaths > 20, f"{deaths} deaths prove nothing"
        replay(handle)

"""A result backend that answers to nothing, while activities are out that workers without the extension may have."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from orchestration.embedded import EmbeddedRedis
from tests.support import wait_until
from tests.support.fixtures import empty_database
from tests.support.projects import Project, deployed

# The sweep alone fires timers; and each run that ends keeps a slot, which waits for the result backend.
project = Project(env={"ORCHESTRATION_ETA_TASKS_MAX": "0"}, concurrency=8)
project.celery_task("nobody", "shop.nobody", **{"activity.task_queue": "nobody.reads"})
calls = project.workflow("calls", "return function() return require('funcs').call('app:nobody') end")
sleeps = project.workflow("sleeps", "return function() require('time').sleep('1s') return 'woken' end")


def test_timers_fire_while_the_result_backend_hangs(
    redis_server: EmbeddedRedis, second_redis: EmbeddedRedis, tmp_path: Path
) -> None:
    """The sweep asked it for results, and heard nothing for two minutes; no timer of any run fired meanwhile."""
    url, results = empty_database(redis_server), second_redis.url
    with deployed(project, tmp_path, url, store_url=url, celery={"result_backend": results}) as deployment:
        deployment.worker(env={"CELERY_RESULT_BACKEND": results})
        handle = deployment.client.start_workflow(calls)
        attempts = deployment.orchestration.runtime.store("default").attempts
        wait_until(lambda: attempts.read(handle.run_id, 1), message="an activity that is out")
        os.kill(second_redis.pid, signal.SIGSTOP)
        try:
            for _ in range(5):  # the sweep looks for results after a while, and again and again
                assert deployment.client.execute_workflow(sleeps, timeout=15) == "woken"
        finally:
            os.kill(second_redis.pid, signal.SIGCONT)

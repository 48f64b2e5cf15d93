"""Fires schedules until it is killed, as the sweep of a worker does: ``python -m tests.support.fire_schedules``.

A worker without Celery: for tests that kill many of them. Environment as for the workers of a ``Deployment``.
"""

from __future__ import annotations

import time

from orchestration.tasks.schedules import ScheduleFirer
from tests.support.project_app import app, orchestration

if __name__ == "__main__":
    app.finalize()
    runtime = orchestration.runtime
    firer = ScheduleFirer(runtime)
    print("ready", flush=True)
    while True:
        for namespace in runtime.namespaces:
            store = runtime.store(namespace)
            for shard in store.schedules.shards:
                firer.fire(namespace, store, shard)
        time.sleep(0.01)

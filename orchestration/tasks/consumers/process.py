"""The process in which the queue consumers of a prefork worker run.

``python -m orchestration.tasks.consumers.process``, started by
:class:`orchestration.tasks.consumers.serving.ConsumersProcess` with one argument, a JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading

from orchestration.registry.kinds.queues import QueueConsumer
from orchestration.tasks.consumers.consumer import Consumers

__all__ = ["main"]

_LOOK_EVERY_S = 1.0


def main(given: str) -> None:
    """Serve until SIGTERM, or until the worker is gone."""
    worker = os.getppid()
    options = json.loads(given)
    os.chdir(options["folder"])
    module, _, name = options["app"].partition(":")
    app = getattr(importlib.import_module(module), name)
    app.set_current()
    app.loader.import_default_modules()
    app.finalize()
    app._orchestration_host = True
    app.log.setup(options["level"], logfile=options["logfile"], redirect_stdouts=False)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orchestration = app.orchestration
    runtime = orchestration.parts.runtime
    entries = [entry for entry in orchestration.registry.of(QueueConsumer) if entry.id in options["consumers"]]
    with runtime.starting():
        consumers = Consumers(runtime, entries)
    consumers.start()
    while not stopped.wait(_LOOK_EVERY_S) and os.getppid() == worker:
        pass
    consumers.stop()
    runtime.close()
    os._exit(0)  # functions that did not end in time are left behind in their threads


if __name__ == "__main__":
    main(sys.argv[1])

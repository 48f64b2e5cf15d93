"""A process says that it lives while it holds something, and stops when it is closed."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from orchestration.tasks.presence import Presence


class Workers:
    """Notes what is said; a heartbeat does what the test says."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.watcher: threading.Thread | None = None
        self.presence: Presence
        self.is_over = threading.Event()

    def beat(self, owner: str) -> None:
        self.said.append(f"{owner} lives")
        if threading.current_thread().name == "orchestration-presence":
            self.watcher = threading.current_thread()
            self.presence.close()
            self.is_over.set()

    def leave(self, owner: str) -> None:
        self.said.append(f"{owner} leaves")


def test_a_close_during_a_heartbeat_ends_the_thread_that_beats() -> None:
    workers = Workers()
    runtime: Any = SimpleNamespace(
        owner="me", settings=SimpleNamespace(heartbeat_ms=10, watchdog_ms=60_000),
        store=lambda _namespace: SimpleNamespace(workers=workers),
    )  # fmt: skip
    workers.presence = Presence(runtime, expendable=False)
    workers.presence.hold("default")
    assert workers.is_over.wait(10)
    assert workers.watcher is not None
    workers.watcher.join(5)
    assert not workers.watcher.is_alive(), "it waits for something to be held, for ever"
    assert workers.said == ["me lives", "me lives", "me leaves"]

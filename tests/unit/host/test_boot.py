"""When a boot is looked at again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.core.supervision import State
from orchestration.host import boot
from orchestration.host.boot import Boot


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in ms, as the test sets it."""
    clock = [1_000]
    monkeypatch.setattr(boot, "now_ms", lambda: clock[0])
    return clock


@pytest.fixture
def ward() -> Any:
    """A service whose process is being started, with 30 ms for that."""
    return SimpleNamespace(attempts=1, has_started=False, service=SimpleNamespace(
        waits_for=(), state=State.STARTING, is_at_rest=False, reason="", policy=SimpleNamespace(start_timeout_ms=30),
    ))  # fmt: skip


def test_a_boot_that_becomes_late_while_nobody_looks_is_still_due(clock: list[int], ward: Any) -> None:
    wards = {"app:a": ward}
    booting = Boot(wards)
    assert booting.look(wards) is None
    ward.service.state, ward.service.reason = State.FAILED, "start timeout after 0.03s"
    clock[0] += 29
    assert booting.look(wards) is None
    clock[0] += 1  # between the look and the question for the next one
    assert booting.due_ms == clock[0]
    found = booting.look(wards)
    assert found is not None
    assert found[1].startswith("start timeout after 0.03s")


def test_a_late_boot_whose_service_still_starts_is_not_looked_at_for_ever(clock: list[int], ward: Any) -> None:
    wards = {"app:a": ward}
    booting = Boot(wards)
    booting.look(wards)
    clock[0] += 30
    assert booting.look(wards) is None
    assert booting.due_ms is None, "what comes of the service itself is looked at then"

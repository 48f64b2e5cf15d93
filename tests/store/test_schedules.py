"""Schedules in the store: one writer for each version, found when they are due, listed in order."""

from __future__ import annotations

import pytest

from orchestration.store.schedules import DueSchedules
from tests.store.backends import Backend
from tests.store.runs import Runs


class Saves:
    """Shorthands with everything that a test does not care about filled in."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.store = backend.store.schedules
        self.commits = 0

    def save(self, name: str = "s", version: int = 0, look_ms: int | None = None, **options: object) -> str:
        self.commits += 1
        values: dict[str, object] = {
            "commit": f"c{self.commits}", "definition": b"d", "state": b"s%d" % self.commits, "waits": False, **options,
        }  # fmt: skip
        return self.store.save(name, version=version, look_ms=look_ms, **values)  # type: ignore[arg-type]

    def take(self, limit: int = 10) -> DueSchedules:
        return self.store.take(self.store.shards[0], limit=limit, hold_ms=5_000)


@pytest.fixture
def saves(backend: Backend) -> Saves:
    return Saves(backend)


def test_schedule_is_made_once(saves: Saves) -> None:
    assert saves.save() == "saved"
    with saves.backend.unchanged():
        assert saves.save() == "exists"
    (stored,) = saves.store.read(["s", "unknown"])
    assert (stored.id, stored.version, stored.definition, stored.state) == ("s", 1, b"d", b"s1")


def test_of_two_who_have_read_the_same_version_one_writes(saves: Saves) -> None:
    saves.save()
    assert saves.save(version=1, definition=b"") == "saved"
    with saves.backend.unchanged():
        assert saves.save(version=1) == "changed"
    (stored,) = saves.store.read(["s"])
    assert (stored.version, stored.definition, stored.state) == (2, b"d", b"s2")


def test_same_commit_again_is_answered_as_the_first_time(saves: Saves) -> None:
    for _ in range(2):
        assert saves.save(commit="made") == "saved"
    for _ in range(2):
        assert saves.save(version=1, commit="changed") == "saved"
    assert saves.store.read(["s"])[0].version == 2


def test_change_of_a_deleted_schedule_makes_none(saves: Saves) -> None:
    saves.save(look_ms=saves.backend.now_ms())
    assert saves.store.delete("s")
    assert saves.take().ids == ()
    with saves.backend.unchanged():
        assert saves.save(version=1) == "missing"
    assert not saves.store.delete("s")
    assert saves.store.nudge("s") == "missing"
    assert saves.store.listing() == []


def test_due_schedule_is_taken_by_one_and_again_after_the_hold(saves: Saves) -> None:
    now = saves.backend.now_ms()
    saves.save(look_ms=now)
    saves.save("later", look_ms=now + 60_000)
    saves.save("never")
    found = saves.take()
    assert found.ids == ("s",)
    assert found.time_ms >= now
    assert saves.take().ids == ()
    saves.backend.pass_time(5_001)
    assert saves.take().ids == ("s",)


def test_take_says_when_the_next_one_is_due(saves: Saves) -> None:
    assert saves.take().next_ms == 0
    now = saves.backend.now_ms()
    saves.save(look_ms=now + 60_000)
    assert saves.take().next_ms == now + 60_000


def test_the_sweep_of_the_shard_says_when_the_next_look_is(saves: Saves) -> None:
    runs = Runs(saves.backend)
    assert runs.sweep().schedule_ms == 0
    now = saves.backend.now_ms()
    saves.save("later", look_ms=now + 60_000)
    assert runs.sweep().schedule_ms == now + 60_000
    saves.save(look_ms=now - 5)
    assert runs.sweep().schedule_ms == now - 5


def test_take_keeps_to_its_limit(saves: Saves) -> None:
    now = saves.backend.now_ms()
    for number in range(5):
        saves.save(f"s{number}", look_ms=now - number)
    assert saves.take(3).ids == ("s4", "s3", "s2")
    assert saves.take(3).ids == ("s1", "s0")


def test_save_moves_and_removes_the_time_of_the_next_look(saves: Saves) -> None:
    now = saves.backend.now_ms()
    saves.save(look_ms=now)
    saves.save(version=1, look_ms=now + 90_000)
    assert (saves.take().ids, saves.take().next_ms) == ((), now + 90_000)
    saves.save(version=2, look_ms=None)
    assert saves.take().next_ms == 0


def test_nudge_brings_what_waits_forward_and_fences_who_has_not_seen_it(saves: Saves) -> None:
    now = saves.backend.now_ms()
    saves.save(look_ms=now + 90_000, waits=True)
    assert saves.store.nudge("s") == "nudged"
    assert saves.take().ids == ("s",)
    assert saves.save(version=1) == "changed"


def test_nudge_of_what_waits_for_nothing_fences_and_leaves_the_time(saves: Saves) -> None:
    now = saves.backend.now_ms()
    saves.save(look_ms=now + 90_000)
    assert saves.store.nudge("s") == "quiet"
    assert saves.take().ids == ()
    assert saves.save(version=1) == "changed"


def test_listing_is_in_order_by_prefix_and_in_pages(saves: Saves) -> None:
    for name in ("b", "a/2", "a/1", "ä", "a/10", "~x"):
        saves.save(name)
    assert saves.store.listing() == ["a/1", "a/10", "a/2", "b", "~x", "ä"]
    assert saves.store.listing(prefix="a/") == ["a/1", "a/10", "a/2"]
    assert saves.store.listing(prefix="a/", after="a/1", limit=1) == ["a/10"]
    assert saves.store.listing(after="b", limit=1) == ["~x"]
    assert saves.store.listing(prefix="a/", after="b") == []
    assert saves.store.listing(prefix="ä") == ["ä"]
    assert saves.store.count() == 6

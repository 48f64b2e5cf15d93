"""Who looks after a service: one living node at a time, under a number that grows."""

from __future__ import annotations

import pytest

from orchestration.store.services import ServiceRecord, Services, TakenService, Wish
from tests.store.backends import Backend

APP = "app:crash"
CODE = "d1"


@pytest.fixture
def services(backend: Backend) -> Services:
    for node in ("one", "two"):
        backend.call("ZADD", backend.keyspace.actors.nodes, 1, node)
    return backend.store.services


def die(backend: Backend, node: str) -> None:
    backend.call("ZREM", backend.keyspace.actors.nodes, node)


def taken(services: Services, node: str = "one", **options: object) -> ServiceRecord:
    found = services.take(node, APP, digest=CODE, **options)  # type: ignore[arg-type]
    assert found.record is not None, found.status
    return found.record


def test_one_node_at_a_time_has_a_service(services):
    record = taken(services)
    assert (record.owner, record.fence, record.state, record.was) == ("one", 1, "starting", "unknown")
    assert services.take("two", APP, digest=CODE) == TakenService(status="held")
    assert services.instances() == [APP]


def test_take_is_answered_again_as_the_first_time(services):
    assert taken(services) == taken(services)


def test_a_node_that_is_not_known_gets_nothing(backend, services):
    with backend.unchanged():
        assert services.take("three", APP, digest=CODE).status == "gone"
        assert services.take("", APP, digest=CODE).status == "gone"


def test_a_dead_nodes_service_is_free_and_the_fence_grows(backend, services):
    first = taken(services)
    services.note("one", first, state="running", runs=4, failures=2, error="boom", pid="{one@h|1}")
    die(backend, "one")
    found = services.take("two", APP, digest=CODE)
    assert (found.status, found.former) == ("taken", "one")
    assert found.record is not None
    assert (found.record.fence, found.record.owner) == (2, "two")
    assert (found.record.runs, found.record.failures, found.record.error) == (4, 2, "boom")
    # Nobody who looks in between sees the former process under the new owner.
    assert (found.record.was, found.record.state, found.record.pid) == ("running", "starting", "")
    assert services.read([APP])[APP].pid == ""


def test_who_has_lost_the_lease_writes_nothing(backend, services):
    old = taken(services)
    die(backend, "one")
    with backend.unchanged():
        assert services.note("one", old, state="running") is False
        assert services.release("one", old, state="stopped") is False
    taken(services, "two")
    backend.call("ZADD", backend.keyspace.actors.nodes, 1, "one")
    with backend.unchanged():
        assert services.note("one", old, state="running") is False
        assert services.release("one", old, state="stopped") is False


def test_a_former_lease_of_the_same_node_writes_nothing(backend, services):
    old = taken(services)
    services.release("one", old, state="stopped")
    taken(services)
    with backend.unchanged():
        assert services.note("one", old, state="running") is False


def test_where_a_service_stands_is_noted_with_the_stores_time(backend, services):
    record = taken(services)
    backend.pass_time(5_000)
    assert services.note("one", record, state="failed", reason="boom", due_in_ms=3_000, failures=1)
    now = backend.now_ms()
    seen = services.read([APP, "app:other"])
    assert list(seen) == [APP]
    found = seen[APP]
    assert (found.state, found.reason, found.failures, found.is_held) == ("failed", "boom", 1, True)
    assert 0 <= now - found.since_ms < 2_000
    assert found.due_ms == found.since_ms + 3_000
    services.note("one", record, state="running", age_ms=4_000)
    assert services.read([APP])[APP].due_ms == 0
    assert services.read([APP])[APP].since_ms <= backend.now_ms() - 4_000


def test_what_is_given_up_is_free_at_once_and_all_can_see_that(services):
    record = taken(services)
    before = services.wishes().changes
    assert services.release("one", record, state="stopped", reason="its worker stops", due_in_ms=7)
    assert services.wishes().changes == before + 1
    assert services.read([APP])[APP].owner == ""
    found = services.take("two", APP, digest=CODE)
    assert (found.status, found.former) == ("taken", "")
    assert found.record is not None
    assert found.record.was == "stopped"
    assert found.record.due_ms > found.now_ms - 7_000


def test_what_has_ended_for_good_is_left_alone_until_an_operator_asks(services):
    services.release("one", taken(services), over=CODE, state="failed")
    assert services.take("two", APP, digest=CODE).status == "over"
    assert services.wish(APP, "run", request="r") == 1
    found = services.take("two", APP, digest=CODE)
    assert (found.status, found.is_asked) == ("taken", True)
    assert found.record is not None
    assert found.record.seen == 1
    services.release("two", found.record, over=CODE, state="exited")
    assert services.take("one", APP, digest=CODE).status == "over"


def test_other_code_is_tried_once(services):
    """During a deploy both kinds of workers are there: neither takes up again what it has seen fail."""
    services.release("one", taken(services), over=CODE, state="failed")
    newer = services.take("two", APP, digest="d2")
    assert newer.record is not None
    services.release("two", newer.record, over="d2", state="failed")
    assert services.take("one", APP, digest=CODE).status == "over"
    assert services.take("two", APP, digest="d2").status == "over"


def test_digests_that_are_remembered_are_bounded(backend, services):
    for number in range(12):
        found = services.take("one", APP, digest=f"d{number}")
        assert found.record is not None
        services.release("one", found.record, over=f"d{number}", state="failed")
    over = backend.call("HGET", backend.keyspace.actors.service(APP), "over").decode().split()
    assert over == [f"d{number}" for number in range(11, 1, -1)]


def test_what_an_operator_has_stopped_is_taken_by_nobody(backend, services):
    record = taken(services)
    services.wish(APP, "stop", request="r")
    services.release("one", record, state="stopped")
    with backend.unchanged():
        assert services.take("two", APP, digest=CODE).status == "unwanted"
    services.wish(APP, "run", request="s")
    assert services.take("two", APP, digest=CODE).is_asked


def test_a_wish_that_is_repeated_counts_once(services):
    assert services.wish(APP, "restart", request="r") == 1
    assert services.wish(APP, "restart", request="r") == 1
    assert services.wish(APP, "restart", request="s") == 2
    wishes = services.wishes()
    assert wishes.of == {APP: Wish(2, "restart")}
    services.wish(APP, "stop", request="t")
    assert services.wishes().changes > wishes.changes, "who looks for changes sees one"


def test_each_node_may_have_an_instance_of_its_own(backend, services):
    one, two = taken(services, "one", is_own=True), taken(services, "two", is_own=True)
    assert (one.instance, two.instance) == (f"{APP}|one", f"{APP}|two")
    assert (one.service, two.service) == (APP, APP)
    services.wish(APP, "stop", request="r")
    assert services.forget(one.instance) is False
    die(backend, "one")
    assert services.forget(one.instance) is True
    assert services.forget(one.instance) is True
    assert services.instances() == [two.instance]
    assert services.wishes().of == {APP: Wish(1, "stop")}


def test_a_service_that_is_forgotten_leaves_no_wish(services):
    record = taken(services)
    services.wish(APP, "restart", request="r")
    assert services.forget(APP) is False
    services.release("one", record, state="stopped")
    assert services.forget(APP) is True
    assert services.instances() == []
    assert services.wishes().of == {}
    assert services.read([APP]) == {}

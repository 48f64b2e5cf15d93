"""Nodes, their processes, names and mail: what a node that has been buried does has no effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestration.errors import StoreError
from orchestration.store import actors as module
from orchestration.store.actors import Actors, Order
from tests.store.backends import Backend
from tests.store.runs import Runs

ANN, BEN = "{one@h|1}", "{two@h|1}"


@pytest.fixture
def actors(backend: Backend) -> Iterator[Actors]:
    """Two nodes, each with a process of number 1; both are buried at the end, and nothing is left."""
    found = backend.store.actors
    for node, pid in (("one", ANN), ("two", BEN)):
        found.join(node, {"machine": node})
        assert order(found, found.register(node, "1", pid, {"entry": "app:x"})) == ["ok"]
    yield found
    for node in ("one", "two"):
        found.bury(node)


def order(actors: Actors, wanted: Order) -> list[Any]:
    (reply,) = actors.run([wanted])
    assert not isinstance(reply, Exception), reply
    return [part.decode() if isinstance(part, bytes) else part for part in reply]


def test_nodes_are_known_until_they_are_buried(backend: Backend, actors: Actors) -> None:
    assert actors.nodes() == {"one": {"machine": "one"}, "two": {"machine": "two"}}
    backend.pass_time(5_000)
    assert actors.beat("one", silent_ms=60_000).living == {"one", "two"}
    roll = actors.beat("one", silent_ms=2_000)
    assert (roll.present, roll.silent, roll.living) == (True, ("two",), {"one"})
    assert actors.silent(silent_ms=2_000) == ["two"]
    assert actors.bury("one", silent_ms=2_000) == "alive"
    assert actors.bury("two", silent_ms=2_000) == "buried"
    assert actors.bury("two") == "gone"
    assert actors.node_ids() == ["one"]
    with backend.unchanged():
        assert not actors.beat("two", silent_ms=2_000).present, "it has to join anew"


def test_a_node_is_buried_with_all_that_it_had(backend: Backend, actors: Actors) -> None:
    order(actors, actors.claim_name("two", "two", "1", BEN, "ben"))
    order(actors, actors.register("two", "2", "{two@h|2}", {}, name="born with"))
    order(actors, actors.post("one", "two", [("1", b"letter")]))
    order(actors, actors.claim_name("one", "one", "1", ANN, "ann"))
    assert actors.bury("two") == "buried"
    assert actors.names() == {"ann": ANN}
    assert actors.living("two") == {}
    assert not [key for key in backend.dump() if key.endswith(":two")]


def test_what_a_buried_node_left_is_taken_away_by_who_comes_second(backend: Backend, actors: Actors) -> None:
    actors.bury("two")
    backend.call("HSET", "orc:{default.p}:living:two", "9", "late")  # it was being written as the node was buried
    assert actors.bury("two") == "gone"
    assert actors.living("two") == {}


def test_a_name_that_another_has_taken_meanwhile_outlives_the_node(actors: Actors) -> None:
    order(actors, actors.claim_name("two", "two", "1", BEN, "shared"))
    order(actors, actors.drop_name("one", "shared"))  # of a process of another node
    order(actors, actors.claim_name("one", "one", "1", ANN, "shared"))
    actors.bury("two")
    assert actors.lookup("shared") == ANN


def test_a_buried_node_changes_nothing(backend: Backend, actors: Actors) -> None:
    order(actors, actors.claim_name("one", "one", "1", ANN, "ann"))
    actors.bury("two")
    with backend.unchanged():
        assert order(actors, actors.register("two", "2", "{two@h|2}", {}, name="x")) == ["gone"]
        assert order(actors, actors.claim_name("two", "one", "1", ANN, "y")) == ["gone"]
        assert order(actors, actors.drop_name("two", "ann")) == ["gone"]
        assert order(actors, actors.post("two", "one", [("1", b"letter")])) == ["gone"]
        assert actors.serve("two", "app:host") == "gone"


def test_hosts_are_served_by_living_nodes(backend: Backend, actors: Actors) -> None:
    for node in ("one", "two"):
        assert actors.serve(node, "app:host") == "ok"
    assert actors.serving("app:host") == ["one", "two"]
    assert actors.serve("one", "app:host", serves=False) == "ok"
    assert actors.serving("app:host") == ["two"]
    actors.bury("two")
    assert actors.serving("app:host") == []
    assert "orc:{default.p}:host:app:host" not in backend.dump()


def test_a_name_belongs_to_one_process(backend: Backend, actors: Actors) -> None:
    for _ in range(2):
        assert order(actors, actors.claim_name("one", "one", "1", ANN, "ann")) == ["ok"]
    with backend.unchanged():
        assert order(actors, actors.claim_name("two", "two", "1", BEN, "ann")) == ["taken", ANN]
        assert order(actors, actors.claim_name("two", "two", "7", "{two@h|7}", "ben")) == ["not_found"]
        assert order(actors, actors.register("two", "2", "{two@h|2}", {}, name="ann")) == ["taken", ANN]
        assert order(actors, actors.drop_name("one", "nobody")) == ["not_found"]
    assert order(actors, actors.drop_name("one", "ann")) == ["ok", ANN]
    assert actors.names() == {}
    assert "orc:{default.p}:named:one" not in backend.dump()


def test_a_process_that_ends_frees_its_names_and_no_others(backend: Backend, actors: Actors) -> None:
    assert order(actors, actors.register("one", "2", "{one@h|2}", {"entry": "app:y"}, name="born with")) == ["ok"]
    order(actors, actors.claim_name("one", "one", "1", ANN, "ann"))
    order(actors, actors.claim_name("two", "two", "1", BEN, "ben"))
    assert set(actors.living("one")) == {"1", "2"}
    for _ in range(2):
        assert order(actors, actors.end("one", "2", "{one@h|2}", ["born with", "ben"])) == ["ok"]
        assert actors.names() == {"ann": ANN, "ben": BEN}
    assert set(actors.living("one")) == {"1"}
    assert set(backend.dump()["orc:{default.p}:named:one"][1]) == {b"ann"}


def test_mail_is_for_the_living_and_there_until_it_has_been_read(
    backend: Backend, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = order(actors, actors.post("one", "two", [("1", b"1"), ("7", b"x"), ("", b"2")]))
    assert sent == ["ok", "ok", "not_found", "ok"]
    assert order(actors, actors.post("one", "nowhere", [("", b"x")])) == ["ok", "not_found"]
    assert actors.take_mail("two", []) == [b"1", b"2"]
    order(actors, actors.post("", "two", [("1", b"3")]))
    for _ in range(2):  # the reply was lost
        assert actors.take_mail("two", [b"1", b"2"]) == [b"3"]
    assert actors.take_mail("two", [b"3"]) == []
    monkeypatch.setattr(module, "_MOST_MAIL", 2)
    sent = order(actors, actors.post("one", "two", [("1", b"a"), ("1", b"b"), ("1", b"c")]))
    assert sent == ["ok", "ok", "ok", "full"]


def test_a_message_is_given_to_the_broker_for_a_node_that_lives(
    backend: Backend, actors: Actors, runs: Runs
) -> None:
    effects = backend.store.effects
    assert effects.give_out("one", runs.push())
    assert effects.give_out("", runs.push(message=b"nothing fences it"))
    assert runs.queue() == [b"nothing fences it", b"wake"]
    actors.bury("one")
    with backend.unchanged():
        assert not effects.give_out("one", runs.push())
    backend.call("SET", "broker:other", "x")
    with backend.unchanged(), pytest.raises(StoreError, match="broker:other"):
        effects.give_out("two", runs.push("broker:other"))

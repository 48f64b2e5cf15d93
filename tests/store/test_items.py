"""Key-value stores: what a write answers, what has ended, pages, and a write whose reply is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from orchestration.store.items import Items, Put
from orchestration.store.scripts import Script
from tests.store.backends import Backend

STORE = "shop:cart"


@pytest.fixture
def items(backend: Backend) -> Items:
    return backend.store.items


def put(items: Items, key: bytes, value: bytes = b"v", **options: Any) -> Put:
    return items.put(STORE, key, value, **{"node": "", "most": 5, **options})


def test_an_item_is_read_as_it_was_written(items: Items) -> None:
    written = put(items, b"\xff\0k", b"a:b:\0")
    found = items.read(STORE, b"\xff\0k")
    assert found is not None
    assert (found.key, found.value, found.version) == (b"\xff\0k", b"a:b:\0", written.version)
    assert items.has(STORE, b"\xff\0k")
    assert items.read("shop:other", b"\xff\0k") is None


def test_versions_grow_over_a_key_that_was_deleted(items: Items) -> None:
    first = put(items, b"k")
    assert items.delete(STORE, b"k", node="") is True
    assert items.delete(STORE, b"k", node="") is False
    assert put(items, b"k").version > first.version
    assert put(items, b"k", wanted=str(first.version)).status == "conflict"


def test_conditions(backend: Backend, items: Items) -> None:
    version = put(items, b"k", wanted="absent").version
    with backend.unchanged():
        assert put(items, b"k", b"other", wanted="absent") == Put("exists", version)
        assert put(items, b"k", b"other", wanted=str(version + 1)) == Put("conflict", version)
        assert put(items, b"none", wanted="1") == Put("conflict", 0)
    assert put(items, b"k", b"new", wanted=str(version)).status == "ok"


def test_what_has_ended_is_not_there_and_goes_when_it_is_met(backend: Backend, items: Items) -> None:
    put(items, b"k", ttl_ms=1000)
    backend.pass_time(900)
    assert items.has(STORE, b"k")
    backend.pass_time(200)
    assert items.read(STORE, b"k") is None
    assert not any(":store:" in key or ":store-keys:" in key or ":store-ends:" in key for key in backend.dump())


def test_what_has_ended_counts_for_no_condition_and_cannot_be_deleted(backend: Backend, items: Items) -> None:
    put(items, b"a", ttl_ms=1000)
    version = put(items, b"b", ttl_ms=1000).version
    backend.pass_time(1100)
    assert put(items, b"a", wanted="absent").status == "ok"
    assert put(items, b"b", wanted=str(version)) == Put("conflict", 0)
    assert items.delete(STORE, b"b", node="") is False


def test_a_write_without_a_time_takes_the_end_away(backend: Backend, items: Items) -> None:
    put(items, b"k", ttl_ms=1000)
    put(items, b"k")
    backend.pass_time(5000)
    assert items.has(STORE, b"k")


def test_a_full_store_takes_no_new_keys(backend: Backend, items: Items) -> None:
    put(items, b"a", ttl_ms=1000)
    put(items, b"b")
    with backend.unchanged():
        assert put(items, b"c", most=2).status == "full"
    assert put(items, b"b", most=2).status == "ok"
    backend.pass_time(1100)
    assert put(items, b"c", most=2).status == "ok"
    assert put(items, b"d", most=2).status == "full"


def test_a_writer_that_was_taken_for_dead_writes_nothing(backend: Backend, items: Items) -> None:
    put(items, b"k", b"v")
    backend.call("ZADD", backend.keyspace.actors.nodes, backend.now_ms(), "living")
    with backend.unchanged():
        assert put(items, b"k", b"w", node="dead").status == "gone"
        assert items.delete(STORE, b"k", node="dead") is None
    assert put(items, b"k", b"w", node="living").status == "ok"
    assert items.delete(STORE, b"k", node="living") is True
    backend.call("DEL", backend.keyspace.actors.nodes)


def test_pages_in_the_order_of_the_bytes(items: Items) -> None:
    for key in (b"b", b"a\xff", b"a", b"a\xff\xff", b"ab", b"\xff\xff", b"\xffa"):
        put(items, key, key, most=50)

    def keys(**options: Any) -> tuple[list[bytes], bool]:
        page = items.page(STORE, **{"prefix": b"", "after": b"", "limit": 50, "size_bytes": 10_000, **options})
        assert all(item.value == item.key for item in page.items)
        assert not page.items or page.last == page.items[-1].key
        return [item.key for item in page.items], page.has_more

    assert keys() == ([b"a", b"ab", b"a\xff", b"a\xff\xff", b"b", b"\xffa", b"\xff\xff"], False)
    assert keys(prefix=b"a") == ([b"a", b"ab", b"a\xff", b"a\xff\xff"], False)
    assert keys(prefix=b"a\xff") == ([b"a\xff", b"a\xff\xff"], False)
    assert keys(prefix=b"\xff") == ([b"\xffa", b"\xff\xff"], False)
    assert keys(prefix=b"a", after=b"ab", limit=1) == ([b"a\xff"], True)
    assert keys(prefix=b"a", after=b"A") == ([b"a", b"ab", b"a\xff", b"a\xff\xff"], False)
    assert keys(prefix=b"a", after=b"b") == ([], False)
    assert keys(limit=7) == (keys()[0], False)


def test_a_page_is_filled_over_what_has_ended(backend: Backend, items: Items) -> None:
    for number in range(9):
        put(items, b"%d" % number, most=50, ttl_ms=0 if number in (4, 8) else 1000)
    backend.pass_time(1100)
    page = items.page(STORE, prefix=b"", after=b"", limit=2, size_bytes=100)
    assert [item.key for item in page.items] == [b"4", b"8"]


def test_a_page_ends_before_it_is_too_large(backend: Backend, items: Items) -> None:
    for number in range(4):
        put(items, b"%d" % number, b"x" * 99, most=50, ttl_ms=1000 if number == 1 else 0)
    backend.pass_time(1100)
    page = items.page(STORE, prefix=b"", after=b"", limit=1, size_bytes=50)
    assert [item.key for item in page.items] == [b"0"]
    page = items.page(STORE, prefix=b"", after=b"", limit=50, size_bytes=250)
    assert ([item.key for item in page.items], page.has_more) == ([b"0", b"2"], True)
    page = items.page(STORE, prefix=b"", after=b"", limit=2, size_bytes=150)
    assert ([item.key for item in page.items], page.has_more) == ([b"0"], True)
    page = items.page(STORE, prefix=b"", after=page.last, limit=2, size_bytes=150)
    assert [item.key for item in page.items] == [b"2"]


def test_what_nobody_meets_is_removed_by_the_sweep_in_bounded_turns(backend: Backend, items: Items) -> None:
    for number in range(5):
        put(items, b"%d" % number, ttl_ms=1000)
    backend.pass_time(1100)
    assert items.tidy(STORE, limit=3) is True
    assert items.tidy(STORE, limit=3) is False
    assert not any(":store-ends:" in key for key in backend.dump())


class _LosesReplies:
    """A connection whose first reply to each script is lost; the script is run again, as the real one does."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.between = lambda: None

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        self.backend.connection.run(script, keys, args)
        self.between()
        return self.backend.connection.run(script, keys, args)


def test_a_write_whose_reply_is_lost_is_done_once(backend: Backend) -> None:
    losing = _LosesReplies(backend)
    items = Items(losing, backend.keyspace.actors)  # type: ignore[arg-type]
    other = backend.store.items
    assert put(items, b"k", b"1", wanted="absent").status == "ok"
    version = put(items, b"k", b"2").version
    losing.between = lambda: put(other, b"k", b"theirs") and None
    assert put(items, b"k", b"3", wanted=str(version)) == Put("ok", version + 1)
    found = other.read(STORE, b"k")
    assert found is not None
    assert found.value == b"theirs", "the second try wrote over what came between"
    losing.between = lambda: None
    assert items.delete(STORE, b"k", node="") is True
    assert items.delete(STORE, b"k", node="") is False

"""Runs found by conditions: the answers are those of a plain look at every run, page by page."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestration.store.indexing import attribute_op
from orchestration.store.query import Condition
from orchestration.store.statuses import CLOSED_STATUSES, OPEN_STATUSES
from orchestration.store.visibility import Visibility
from orchestration.types import RunId
from tests.store.backends import Backend, MemoryBackend, RedisBackend
from tests.store.runs import RETENTION_MS, Runs

Facts = dict[str, Any]
TYPES = ("shop:order", "shop:orders", "bank:transfer")
CITIES = ("Rome", "Rom", "Roma", "Paris", "", "Zürich", "a\x01")
AMOUNTS = (-5, -0.5, 0, 0.25, 1, 2, 2**53, 2**53 + 1, -(2**63), 2**63 - 1, 1e300)
TAGS = ("new", "old", "vip")


@pytest.fixture(params=["memory", "redis"])
def shop(request: pytest.FixtureRequest) -> Iterator[tuple[Runs, dict[RunId, Facts]]]:
    """Sixty runs of every kind on four shards, and what is true of each."""
    backend: Backend
    if request.param == "memory":
        backend = MemoryBackend(shards=4)
    else:
        backend = RedisBackend(request.getfixturevalue("redis_url"), shards=4)
    yield filled(Runs(backend), 60)
    backend.check()
    backend.close()


def filled(runs: Runs, number: int) -> tuple[Runs, dict[RunId, Facts]]:
    dice = random.Random(7)
    facts: dict[RunId, Facts] = {}
    for count in range(number):
        workflow_id = f"{dice.choice(['order', 'order-', 'ord'])}{count}"
        search = {
            name: value
            for name, value in (
                ("city", dice.choice(CITIES)), ("amount", dice.choice(AMOUNTS)), ("paid", dice.random() < 0.5),
                ("tags", dice.sample(TAGS, dice.randrange(4))),
            )
            if dice.random() < 0.7
        }  # fmt: skip
        entry_id = dice.choice(TYPES)
        run_id = runs.started(workflow_id, fields={"type": entry_id}, search=search)
        status = dice.choice([*["running"] * 5, "parked", "completed", "completed", "failed", "terminated"])
        if dice.random() < 0.3:
            search["city"] = dice.choice(CITIES)
            runs.commit(runs.lease(run_id), attribute_op("city", search["city"]), workflow_id=workflow_id)
            runs.backend.store.runs.deliver(run_id, b"in")
        if status == "parked":
            fence = runs.store.runs.record(run_id).number("fence")
            assert runs.store.runs.park(run_id, fence=fence, kind="k", reason="r")
        elif status == "terminated":
            runs.store.runs.end(run_id, status=status, code=75, details=[])
        elif status != "running":
            runs.commit(runs.lease(run_id), workflow_id=workflow_id, ending=status)
        record = runs.store.runs.record(run_id)
        facts[run_id] = {
            "id": workflow_id, "type": entry_id, "status": status, "search": search,
            "started": record.number("started"), "closed": record.number("closed"),
        }  # fmt: skip
        if count % (3 if isinstance(runs.backend, MemoryBackend) else 12) == 0:
            runs.backend.pass_time(5)
            if isinstance(runs.backend, RedisBackend):
                for known in facts.values():
                    known["started"] -= 5
                    known["closed"] -= 5 if known["closed"] else 0
    return runs, facts


def expected(facts: dict[RunId, Facts], *tests: Callable[[Facts], bool]) -> list[RunId]:
    chosen = [(known["started"], run_id) for run_id, known in facts.items() if all(test(known) for test in tests)]
    return [run_id for _, run_id in sorted(chosen, reverse=True)]


def listed(visibility: Visibility, *conditions: Condition, page_size: int = 7) -> list[RunId]:
    found: list[RunId] = []
    cursor = ""
    for _ in range(1000):
        page = visibility.page(conditions, page_size=page_size, cursor=cursor)
        assert len(page.runs) <= page_size
        found += [run_id for run_id, _ in page.runs]
        cursor = page.cursor
        if not cursor:
            return found
    raise AssertionError("pages without end")


def _is(name: str, test: Callable[[Any], bool]) -> Callable[[Facts], bool]:
    return lambda known: name in known["search"] and test(known["search"][name])


CASES: list[tuple[Condition, Callable[[Facts], bool]]] = [
    (Condition("status", "=", "open"), lambda f: f["status"] in OPEN_STATUSES),
    (Condition("status", "=", "closed"), lambda f: f["status"] in CLOSED_STATUSES),
    (Condition("status", "=", "running"), lambda f: f["status"] == "running"),
    (Condition("status", "=", "parked"), lambda f: f["status"] == "parked"),
    (Condition("status", "=", "failed"), lambda f: f["status"] == "failed"),
    (Condition("status", "=", "timed_out"), lambda f: False),
    (Condition("status", "in", ["parked", "failed"]), lambda f: f["status"] in ("parked", "failed")),
    (Condition("status", "!=", "completed"), lambda f: f["status"] != "completed"),
    (Condition("type", "=", "shop:order"), lambda f: f["type"] == "shop:order"),
    (Condition("type", "in", ["shop:order", "no:such"]), lambda f: f["type"] == "shop:order"),
    (Condition("type", "!=", "shop:order"), lambda f: f["type"] != "shop:order"),
    (Condition("id", "=", "order3"), lambda f: f["id"] == "order3"),
    (Condition("id", "prefix", "order-"), lambda f: f["id"].startswith("order-")),
    (Condition("id", "prefix", ""), lambda f: True),
    (Condition("id", "!=", "order3"), lambda f: f["id"] != "order3"),
    (Condition("city", "=", "Rom"), _is("city", lambda v: v == "Rom")),
    (Condition("city", "=", ""), _is("city", lambda v: v == "")),
    (Condition("city", "!=", "Rom"), lambda f: f["search"].get("city") != "Rom"),
    (Condition("city", "prefix", "Rom"), _is("city", lambda v: v.startswith("Rom"))),
    (Condition("city", "<", "Roma"), _is("city", lambda v: v < "Roma")),
    (Condition("city", "<=", "Roma"), _is("city", lambda v: v <= "Roma")),
    (Condition("city", ">", "Rom"), _is("city", lambda v: v > "Rom")),
    (Condition("city", ">=", "a"), _is("city", lambda v: v >= "a")),
    (Condition("city", "in", ["Paris", "Zürich"]), _is("city", lambda v: v in ("Paris", "Zürich"))),
    (Condition("city", "=", 1), lambda f: False),
    (Condition("amount", "=", 2**53 + 1), _is("amount", lambda v: v == 2**53 + 1)),
    (Condition("amount", "=", 0.0), _is("amount", lambda v: v == 0)),
    (Condition("amount", "<", 0.25), _is("amount", lambda v: v < 0.25)),
    (Condition("amount", "<=", 2**53), _is("amount", lambda v: v <= 2**53)),
    (Condition("amount", ">", 2**53), _is("amount", lambda v: v > 2**53)),
    (Condition("amount", ">=", -0.5), _is("amount", lambda v: v >= -0.5)),
    (Condition("amount", "in", [1, 2.0]), _is("amount", lambda v: v in (1, 2))),
    (Condition("amount", "!=", 1), lambda f: f["search"].get("amount") != 1),
    (Condition("paid", "=", True), _is("paid", lambda v: v)),
    (Condition("paid", "!=", True), lambda f: f["search"].get("paid") is not True),
    (Condition("tags", "=", "vip"), _is("tags", lambda v: "vip" in v)),
    (Condition("tags", "in", ["vip", "new"]), _is("tags", lambda v: bool({"vip", "new"} & set(v)))),
    (Condition("tags", ">=", "n"), _is("tags", bool)),
    (Condition("search.city", "=", "Rom"), _is("city", lambda v: v == "Rom")),
    (Condition("nobody", "=", "Rom"), lambda f: False),
    (Condition("nobody", "!=", "Rom"), lambda f: True),
]  # fmt: skip


def test_every_condition_selects_what_it_says(shop: tuple[Runs, dict[RunId, Facts]]) -> None:
    runs, facts = shop
    visibility = runs.store.visibility
    assert listed(visibility) == expected(facts)
    for condition, test in CASES:
        wanted = expected(facts, test)
        assert listed(visibility, condition) == wanted, condition
        assert visibility.count([condition]) == len(wanted), condition


def test_conditions_are_combined_by_and(shop: tuple[Runs, dict[RunId, Facts]]) -> None:
    runs, facts = shop
    for (one, test), (other, another) in itertools.islice(itertools.combinations(CASES, 2), 0, None, 5):
        wanted = expected(facts, test, another)
        assert listed(runs.store.visibility, one, other, page_size=4) == wanted, (one, other)
        assert runs.store.visibility.count([one, other]) == len(wanted), (one, other)


def test_times_of_start_and_end_are_conditions_too(shop: tuple[Runs, dict[RunId, Facts]]) -> None:
    runs, facts = shop
    for field in ("started", "closed"):
        times = sorted({known[field] for known in facts.values() if known[field]})
        for time_ms in (times[0], times[len(times) // 2], times[-1]):
            for operator, test in {
                "<": lambda v, t: v < t, "<=": lambda v, t: v <= t, ">": lambda v, t: v > t, ">=": lambda v, t: v >= t,
                "=": lambda v, t: v == t,
            }.items():  # fmt: skip
                condition = Condition(field, operator, time_ms)
                wanted = expected(
                    facts, lambda f, test=test, t=time_ms, field=field: bool(f[field]) and test(f[field], t)
                )
                assert listed(runs.store.visibility, condition) == wanted, condition
                assert runs.store.visibility.count([condition]) == len(wanted)
                both = [condition, Condition("type", "=", "shop:order")]
                assert listed(runs.store.visibility, *both) == [r for r in wanted if facts[r]["type"] == "shop:order"]


def test_a_small_budget_gives_short_pages_and_loses_none(
    shop: tuple[Runs, dict[RunId, Facts]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work for one call is bounded: a condition that selects too many is looked for among all runs, piece by piece."""
    runs, facts = shop
    monkeypatch.setattr("orchestration.store.visibility._BUDGET", 3)
    monkeypatch.setattr("orchestration.store.visibility._SORTED", 2)
    lengths = []
    for condition, test in CASES:
        assert listed(runs.store.visibility, condition, page_size=5) == expected(facts, test), condition
        assert runs.store.visibility.count([condition]) == len(expected(facts, test))
        lengths.append(len(runs.store.visibility.page([condition], page_size=20).runs))
    assert 0 in lengths


def test_a_list_shows_the_moment(shop: tuple[Runs, dict[RunId, Facts]]) -> None:
    """The index is written by the script that changes the run."""
    runs, facts = shop
    visibility = runs.store.visibility
    run_id = next(run for run in expected(facts) if facts[run]["status"] == "parked")
    mine = Condition("id", "=", facts[run_id]["id"])
    assert listed(visibility, Condition("status", "=", "parked"), mine) == [run_id]
    runs.store.runs.unpark(run_id)
    assert listed(visibility, Condition("status", "=", "parked"), mine) == []
    assert listed(visibility, Condition("status", "=", "running"), mine) == [run_id]
    runs.store.runs.end(run_id, status="timed_out", code=76, details=[])
    assert listed(visibility, Condition("status", "=", "open"), mine) == []
    assert listed(visibility, Condition("status", "=", "timed_out")) == [run_id]


def test_several_runs_of_a_workflow_id_are_listed(backend: Backend, runs: Runs) -> None:
    first = runs.ended(search={"n": 1})
    backend.pass_time(10)
    second = runs.started(search={"n": 2})
    assert listed(backend.store.visibility, Condition("id", "=", "order-1")) == [second, first]
    assert listed(backend.store.visibility, Condition("n", "=", 1)) == [first]


def test_an_attribute_that_changes_is_found_by_its_new_value_alone(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(search={"tags": ["a", "b"]})
    runs.commit(runs.lease(run_id), attribute_op("tags", ["b", "c", "c"]), attribute_op("n", 1.5))
    find = backend.store.visibility
    assert listed(find, Condition("tags", "=", "a")) == []
    assert listed(find, Condition("tags", "=", "c"), Condition("n", ">", 1)) == [run_id]
    assert find.count([Condition("tags", "in", ["b", "c"])]) == 1
    backend.store.runs.deliver(run_id, b"in")
    runs.commit(runs.lease(run_id), attribute_op("tags", []))
    assert listed(find, Condition("tags", ">=", "")) == []


def test_the_index_of_a_run_goes_after_its_retention(backend: Backend, runs: Runs) -> None:
    run_id = runs.ended(search={"city": "Rome", "tags": ["a", "b"]})
    runs.started("order-2", search={"city": "Rome"})
    backend.pass_time(RETENTION_MS - 5_000)
    runs.sweep()
    assert run_id in listed(backend.store.visibility, Condition("city", "=", "Rome"))
    backend.pass_time(10_000)
    gone = [Condition("status", "!=", "failed"), Condition("id", "prefix", "")]
    assert run_id not in listed(backend.store.visibility, *gone)
    runs.sweep()
    keys = runs.keys(run_id)
    assert backend.call("EXISTS", keys.ended) == 0
    assert backend.call("ZCARD", keys.index) == 2
    assert backend.store.visibility.count([]) == 1


def test_a_store_without_runs_lists_none(backend: Backend) -> None:
    assert listed(backend.store.visibility) == []
    assert listed(backend.store.visibility, Condition("type", "=", "x"), Condition("n", "<", 3)) == []
    assert backend.store.visibility.count([]) == 0
    assert backend.store.visibility.types() == ()


def test_the_types_are_known(shop: tuple[Runs, dict[RunId, Facts]]) -> None:
    assert shop[0].store.visibility.types() == tuple(sorted(TYPES))


@pytest.mark.parametrize("cursor", ["x", "1", "1.g", "1.2.3", "-1.a", " 1.a"])
def test_what_is_no_cursor_is_refused(backend: Backend, cursor: str) -> None:
    with pytest.raises(ValueError, match="is no cursor"):
        backend.store.visibility.page([], page_size=5, cursor=cursor)


def test_reading_writes_nothing(shop: tuple[Runs, dict[RunId, Facts]]) -> None:
    runs, _ = shop
    with runs.backend.unchanged():
        for condition, _test in CASES:
            runs.store.visibility.page([condition], page_size=3)
            runs.store.visibility.count([condition])

# ruff: noqa: E501 - tables of cases read better on one line
"""The language of ``--where``: what it reads, and what it says of what it cannot read."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.client import Condition
from orchestration.client.listing import conditions_of
from orchestration.store.indexing import check_search, index_values, indexed
from orchestration.store.query import make_query, time_of
from orchestration.store.where import parse_where


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("", []),
        (" \n ", []),
        ('status = "failed"', [Condition("status", "=", "failed")]),
        (
            'status = "failed" and amount > 100 AND type = "app:order"',
            [Condition("status", "=", "failed"), Condition("amount", ">", 100), Condition("type", "=", "app:order")],
        ),
        ("a<1 and b<=-2.5 and c>=1e3", [Condition("a", "<", 1), Condition("b", "<=", -2.5), Condition("c", ">=", 1000.0)]),
        ("paid == true and late <> FALSE", [Condition("paid", "=", True), Condition("late", "!=", False)]),
        ("n in (1, 2.5,'x')", [Condition("n", "in", [1, 2.5, "x"])]),
        ('id prefix "order-"', [Condition("id", "prefix", "order-")]),
        (r"""who = "An \"A\" \\" and it = 'it\'s'""", [Condition("who", "=", 'An "A" \\'), Condition("it", "=", "it's")]),
        ("`Größe in m²` != 3 and stadt.teil-1 = 'ä'", [Condition("Größe in m²", "!=", 3), Condition("stadt.teil-1", "=", "ä")]),
        ("`in` = 1 and `and` = 2", [Condition("in", "=", 1), Condition("and", "=", 2)]),
    ],
)  # fmt: skip
def test_what_is_read(text: str, conditions: list[Condition]) -> None:
    assert parse_where(text) == conditions
    assert [type(found.value) for found in parse_where(text)] == [type(wanted.value) for wanted in conditions]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("amount >", "column 9: expected a value (text in quotes, a number, true or false), found the end"),
        ("amount > lots", "column 10: expected a value (text in quotes, a number, true or false), found 'lots': a text has"),
        ("amount 100", "column 8: expected an operator (= != < <= > >= in prefix), found '100'"),
        ("amount", "column 7: expected an operator"),
        ("> 100", "column 1: expected a name"),
        ("not a = 1", "column 1: expected a name (status, type, id, started, closed or a search attribute), found 'not': there"),
        ("a = 1 or b = 2", "column 7: expected `and` or the end, found 'or': conditions are combined by `and` only"),
        ("a = 1 b = 2", "column 7: expected `and` or the end, found 'b'"),
        ("a = 1 and", "column 10: expected a name"),
        ("a in 1", "column 6: expected `(` and the values, found '1'"),
        ("a in ()", "column 7: expected a value"),
        ("a in (1 2)", "column 9: expected `,` or `)`, found '2'"),
        ("a in (1", "column 8: expected `,` or `)`, found the end"),
        ("a = 'x", "column 5: a text without its closing quote"),
        ("a = 1; b", "column 6: ';', which has no meaning here"),
        ("a = 1.2.3", "column 5: '1', which has no meaning here"),
        ("a like 'x%'", "column 3: expected an operator"),
        ("(a = 1)", "column 1: expected a name"),
        (f"a = {'9' * 5000}", "column 5: a number has at most 400 digits"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_its_column(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="where, " + re.escape(message)):
        parse_where(text)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Condition("status", "=", "faild"), "status =: 'faild' is no status: did you mean 'failed'?"),
        (Condition("status", "=", 7), "7 is no status: there are open, closed, running"),
        (Condition("status", "<", "failed"), "status <: this field takes =, != and in"),
        (Condition("type", "prefix", "a"), "type prefix: this field takes =, != and in"),
        (Condition("type", "=", 1), "a type is the id of an entry"),
        (Condition("id", ">", "a"), "this field takes =, !=, in and prefix"),
        (Condition("id", "=", 1), "a workflow id is text"),
        (Condition("started", ">", "soon"), "started >: 'soon' is no time: give one such as '2024-05-01'"),
        (Condition("started", "in", [1]), "this field takes =, <, <=, > and >="),
        (Condition("closed", "=", 1.5), "a time is ISO 8601 text"),
        (Condition("amount", "~", 1), "'~' is no operator"),
        (Condition("amount", "in", "abc"), "a list of values is expected"),
        (Condition("amount", "in", list(range(101))), "101 values are too many"),
        (Condition("amount", "=", None), "not NoneType"),
        (Condition("amount", "=", math.nan), "NaN cannot be searched for"),
        (Condition("amount", "prefix", 1), "a prefix is text"),
        (Condition("", "=", 1), "a search attribute has a name"),
    ],
)
def test_what_cannot_be_asked_is_refused(condition: Condition, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make_query([condition])


def test_times_are_read_in_every_form() -> None:
    assert time_of("2024-05-01T00:00:00Z") == time_of(dt.datetime(2024, 5, 1, tzinfo=dt.UTC)) == 1_714_521_600_000
    assert time_of(5) == 5
    assert time_of(-5) == 0
    (after,) = conditions_of(started_after=dt.timedelta(hours=1))
    assert (after.field, after.operator) == ("started", ">=")
    assert abs(time_of(after.value) / 1000 + 3600 - dt.datetime.now(dt.UTC).timestamp()) < 60
    with pytest.raises(TypeError, match="there is no filter 'state'"):
        conditions_of(state="open")  # type: ignore[call-arg]


def test_conditions_that_exclude_each_other_are_seen() -> None:
    for text in (
        "status = 'open' and status = 'failed'", "type = 'a' and type = 'b'", "started > 5 and started < 5",
        "closed > 5 and closed < 5", "n > 5 and n < 5", "n = 1 and n = 2", "status = 'running' and closed > 0",
    ):  # fmt: skip
        assert make_query(parse_where(text)).is_empty, text
    assert not make_query(parse_where("tags = 'a' and tags = 'b' and n >= 5 and n <= 5")).is_empty


numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.sampled_from([2**53, 2**53 + 1, 0.0]))


@given(numbers, numbers)
def test_the_bytes_of_numbers_are_in_the_order_of_numbers(one: float, other: float) -> None:
    assert (indexed(one) < indexed(other)) == (one < other)
    assert (indexed(one) == indexed(other)) == (one == other)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"": 1}, "is a text that is not empty"),
        ({"n" * 129: 1}, "is longer than 128 bytes"),
        ({"n": None}, "search attribute 'n': it is text, a number, a boolean or a list of texts, not NoneType"),
        ({"n": {"a": 1}}, "not dict"),
        ({"n": [1]}, "a list has texts only, not int"),
        ({"n": ["x"] * 101}, "a list of 101 is too long"),
        ({"n": "x" * 1025}, "a text of 1025 bytes is too long"),
        ({"n": "a\0b"}, "has a NUL character"),
        ({"n": 2**63}, "has more than 64 bits"),
        ({f"n{i}": 1 for i in range(101)}, "101 search attributes are too many"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(search: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_search(search)


def test_an_item_is_indexed_once() -> None:
    assert index_values(["a", "b", "a"]) == [b"sa", b"sb"]
    assert index_values(True) == [b"b1"]
    check_search({"a": "x" * 1024, "b": 2**63 - 1, "c": [], "d": False, "e": -0.5})

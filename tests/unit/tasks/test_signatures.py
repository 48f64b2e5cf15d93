"""Signatures in messages: ours get their queue, what belongs to an existing project is left as it is."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from celery import Celery, chain, chord, group

from orchestration.tasks.signatures import address_signatures, chord_ids

app = Celery("signatures", set_as_current=False)


def queue_of(name: str) -> str | None:
    return "orders" if name == "shop:order" else None


def theirs(**kwargs: Any) -> dict[str, Any]:
    return {"task": "theirs", "args": [], "kwargs": kwargs, "options": {}, "subtask_type": None, "immutable": False}


@pytest.mark.parametrize("value", [
    [{"task": "write the report"}],
    [{"task": "shop:order", "options": None}],
    {"task": "shop:order", "kwargs": {"tasks": "none"}, "options": "fast"},
    [{"task": "shop:order"}],
])
@pytest.mark.parametrize("name", ["tasks", "header", "body"])
def test_arguments_that_look_like_signatures_are_none(name, value):
    signatures = [theirs(**{name: value})]
    embed: dict[str, Any] = {"callbacks": signatures, "errbacks": None, "chain": [*signatures], "chord": None}
    before = copy.deepcopy(embed)
    address_signatures(embed, queue_of)
    assert embed == before
    assert chord_ids({"chain": embed["chain"]}) == []


@pytest.mark.parametrize("options", [{}, {"options": None}])
def test_a_signature_written_by_hand_is_left_as_it_is(options):
    embed = {"callbacks": [{"task": "theirs", **options}], "errbacks": [{"task": "shop:order", **options}]}
    address_signatures(embed, queue_of)
    assert embed["callbacks"] == [{"task": "theirs", **options}]
    assert embed["errbacks"][0]["options"] == {"queue": "orders"}


def test_ours_is_found_in_every_canvas():
    order = app.signature("shop:order")
    inner = chain(app.signature("theirs"), group(order, chord([order.clone()], order.clone())))
    embed = {"callbacks": [inner], "chord": order.clone(), "chain": [app.signature("theirs", link=order.clone())]}
    address_signatures(embed, queue_of)
    text = json.dumps(embed)
    assert text.count('"shop:order"') == text.count('"queue": "orders"') == 5

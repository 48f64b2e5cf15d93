"""Assertions on histories: each can fail, and tells the whole story then."""

from __future__ import annotations

import re

import pytest

from orchestration.errors import ApplicationError
from orchestration.testing import assert_history

ORDER = {"id": "A-1", "amount": 5}


@pytest.fixture
def order(env):
    env.activity("app:charge", lambda order: {"id": "p-1"})
    env.activity("app:ship", lambda order_id: None)
    handle = env.start("app:order", ORDER)
    handle.result()
    return assert_history(handle)


@pytest.fixture
def approved(env):
    handle = env.start("app:approval")
    handle.signal("decision", {"by": "Ana"})
    env.run()
    handle.result()
    return assert_history(handle)


def test_what_an_order_did(order):
    (
        order.has_activity("app:charge", args=[ORDER], times=1, result={"id": "p-1"}, status="completed")
        .has_activity("app:ship", args=["A-1"])
        .has_no_activity("app:refund")
        .has_order("app:charge", "app:ship")
        .slept("24h", times=1)
        .has_timer("24h")
        .completed()
        .completed({"payment": "p-1", "id": "A-1"})
    )
    assert [(call.target, call.status, call.attempts) for call in order.activities] == [
        ("app:charge", "completed", 1), ("app:ship", "completed", 1),
    ]  # fmt: skip


FAILING = {
    "no such activity": lambda run: run.has_activity("app:refund"),
    "other arguments": lambda run: run.has_activity("app:charge", args=[{}]),
    "another number": lambda run: run.has_activity("app:charge", times=2),
    "never": lambda run: run.has_activity("app:charge", times=0),
    "another result": lambda run: run.has_activity("app:charge", result=None),
    "another status": lambda run: run.has_activity("app:charge", status="failed"),
    "an activity": lambda run: run.has_no_activity("app:charge"),
    "any activity": lambda run: run.has_no_activity(),
    "another order": lambda run: run.has_order("app:ship", "app:charge"),
    "once only": lambda run: run.has_order("app:ship", "app:ship"),
    "another sleep": lambda run: run.slept("23h"),
    "slept twice": lambda run: run.slept("24h", times=2),
    "another timer": lambda run: run.has_timer("1s"),
    "no signal": lambda run: run.got_signal("decision"),
    "sent none": lambda run: run.sent_signal("decision"),
    "no child": lambda run: run.started_child("app:child"),
    "no cancel": lambda run: run.got_cancel(),
    "other result": lambda run: run.completed(5),
    "no failure": lambda run: run.failed(),
    "not cancelled": lambda run: run.cancelled(),
    "not terminated": lambda run: run.terminated(),
    "not timed out": lambda run: run.timed_out(),
    "not continued": lambda run: run.continued_as_new(),
    "has ended": lambda run: run.is_open(),
}


@pytest.mark.parametrize("case", FAILING)
def test_what_it_did_not_do(order, case):
    with pytest.raises(AssertionError) as caught:
        FAILING[case](order)
    text = str(caught.value)
    assert re.match(r"expected .+; the history is\n", text)
    assert "1  the start: [{'amount': 5, 'id': 'A-1'}]" in text
    assert "2    activity app:charge (number 1): [{'amount': 5, 'id': 'A-1'}]" in text
    assert "timer 2 fired" in text


def test_signals_with_their_payloads(approved):
    approved.got_signal("decision").got_signal("decision", {"by": "Ana"})
    with pytest.raises(AssertionError, match="signal 'decision' with"):
        approved.got_signal("decision", "no")
    with pytest.raises(AssertionError):
        approved.got_signal("other")
    with pytest.raises(AssertionError, match="fired at least once; its timers: 48h0m0s"):
        approved.slept("48h")  # started, never fired


def test_a_failure_by_kind_and_text(env):
    def decline(order):
        raise ApplicationError("card declined", kind="Declined", retryable=False)

    env.activity("app:charge", decline)
    handle = env.start("app:order", ORDER)
    env.run()
    run = assert_history(handle)
    run.failed().failed(kind="Declined").failed(message="card").has_activity("app:charge", status="failed")
    assert run.activities[0].failure["message"] == "card declined"
    for wrong in ({"kind": "Internal"}, {"message": "cash"}):
        with pytest.raises(AssertionError, match="it is"):
            run.failed(**wrong)
    with pytest.raises(AssertionError):
        run.completed()


def test_an_open_run_with_a_pending_activity(env):
    env.activity("app:charge", lambda order: {"id": "p-1"})
    handle = env.start("app:order", ORDER)
    env.run()
    run = assert_history(handle).is_open()
    assert run.activities[0].status == "completed"
    with pytest.raises(AssertionError):
        run.completed()


def test_events_and_bytes_serve_as_well_as_a_handle(env):
    handle = env.start("app:doubled", 2)
    handle.result()
    assert_history(list(handle.history())).completed(4)
    assert_history(handle.raw_history()).completed(4)


def test_an_empty_history_says_so():
    with pytest.raises(AssertionError, match="empty"):
        assert_history([]).completed()

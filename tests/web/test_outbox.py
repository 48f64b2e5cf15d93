"""What is started and sent in a transaction: nothing before the commit, everything after it, once and in order."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestration.client import RetryPolicy
from orchestration.client.starting import start_request
from orchestration.core.identity import Actor
from orchestration.errors import ConfigError, DecodeError, EncodeError, EntryNotFoundError, WorkflowNotFoundError
from tests.support import wait_until
from tests.web.site import Shop


class ChangedMindError(Exception):
    """Rolls back."""


@contextmanager
def left_to_workers() -> Iterator[None]:
    """This process sends nothing, as if it had died after its commit."""
    from tests.web.shop.celery import orchestration

    before = orchestration.django
    orchestration._django = replace(before, outbox_immediate=False)
    try:
        yield
    finally:
        orchestration._django = before


def new_id() -> str:
    return uuid.uuid4().hex[:12]


PRIVATE = "private"
"""The database whose outbox no worker looks at."""


def state_of(tables: Any, workflow_id: str, using: str = "default") -> list[tuple[str, str, int]]:
    rows = tables.objects.using(using).filter(workflow_id=workflow_id).order_by("id")
    return [(row.kind, row.state, row.attempts) for row in rows]


def send_once(**changes: Any) -> Any:
    from orchestration.integrations.django.sending import impatient_runtime, send_due
    from tests.web.shop.celery import orchestration

    return send_due(impatient_runtime(orchestration), PRIVATE, replace(orchestration.django, **changes))


def test_a_commit_starts_and_a_rollback_does_not(served: Shop, tables: Any) -> None:
    from django.db import transaction

    from orchestration.integrations.django import client, start_workflow
    from tests.web.shop.orders.models import Note

    kept, lost = new_id(), new_id()
    with pytest.raises(ChangedMindError), transaction.atomic():
        start_workflow("orders:fulfil", lost, id=lost)
        raise ChangedMindError
    with transaction.atomic():
        handle = start_workflow("orders:fulfil", kept, id=kept)
        with pytest.raises(WorkflowNotFoundError):
            handle.describe()
    assert handle.result(timeout=30) == f"fulfilled {kept}"
    assert state_of(tables, kept) == [("start", "sent", 1)]
    assert state_of(tables, lost) == []
    with pytest.raises(WorkflowNotFoundError):
        client().get_workflow(lost).describe()
    assert Note.objects.filter(order=kept).count() == 1


def test_what_a_savepoint_takes_back_is_not_sent(served: Shop, tables: Any) -> None:
    from django.db import transaction

    from orchestration.integrations.django import signal, start_workflow

    name = new_id()
    with transaction.atomic():
        handle = start_workflow("orders:collect", 2, id=name)
        signal(name, "number", {"n": 1})
        with pytest.raises(ChangedMindError), transaction.atomic():
            signal(name, "number", {"n": 2})
            raise ChangedMindError
        signal(name, "number", {"n": 3})
    assert handle.result(timeout=30) == {"found": [1, 3]}


def test_a_worker_sends_what_the_web_process_left_in_order(served: Shop, tables: Any) -> None:
    from django.db import transaction

    from orchestration.integrations.django import signal, start_workflow

    name = new_id()
    with left_to_workers():
        with transaction.atomic():
            handle = start_workflow("orders:collect", 40, id=name)
            for number in range(20):
                signal(name, "number", {"n": number})
        for number in range(20, 40):
            signal(name, "number", {"n": number})
        wait_until(lambda: not tables.objects.filter(state="pending").exists(), deadline_s=30)
    assert handle.result(timeout=30) == {"found": list(range(40))}
    assert {row[1:] for row in state_of(tables, name)} == {("sent", 1)}


def test_a_cancel_request_goes_behind_what_was_asked_for_before(served: Shop, tables: Any) -> None:
    from django.db import transaction

    from orchestration.integrations.django import cancel, signal_with_start

    name = new_id()
    with transaction.atomic():
        handle = signal_with_start("orders:collect", "number", [{"n": 7}], args=[5], id=name)
        cancel(name, "not wanted any more")
    assert handle.result(timeout=30) == {"cancelled": True, "found": [7]}


def test_an_entry_sent_again_has_no_second_effect(served: Shop, tables: Any) -> None:
    """As when a process dies between sending and marking, at every moment of it."""
    from orchestration.integrations.django import signal, start_workflow
    from tests.web.shop.orders.models import Note

    one, other = new_id(), new_id()
    first = start_workflow("orders:fulfil", one, id=one, using=PRIVATE)
    second = start_workflow("orders:collect", 2, id=other, using=PRIVATE)
    signal(other, "number", {"n": 1}, using=PRIVATE)
    assert first.result(timeout=30)
    tables.objects.using(PRIVATE).update(state="pending")
    assert len(send_once().sent) == 3
    signal(other, "number", {"n": 2}, using=PRIVATE)
    assert second.result(timeout=30) == {"found": [1, 2]}
    assert Note.objects.filter(order=one).count() == 1


def test_many_senders_at_once_keep_the_order(served: Shop, tables: Any) -> None:
    from django.db import connections

    from orchestration.integrations.django import signal, start_workflow

    name = new_id()
    handle = start_workflow("orders:collect", 30, id=name, using=PRIVATE)
    problems: list[BaseException] = []

    def send() -> None:
        try:
            while tables.objects.using(PRIVATE).filter(state="pending").exists():
                send_once(outbox_batch=1)
        except BaseException as error:
            problems.append(error)
        finally:
            connections.close_all()

    with left_to_workers():
        for number in range(30):
            signal(name, "number", {"n": number}, using=PRIVATE)
        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not problems, problems
    assert handle.result(timeout=30) == {"found": list(range(30))}


def test_a_large_transaction_is_sent_in_few_passes(
    shop: Shop, tables: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import transaction

    from orchestration.integrations.django import client, sending, signal, start_workflow

    passes: list[Any] = []
    real = sending.send_due
    monkeypatch.setattr(sending, "send_due", lambda *args, **kw: passes.append(1) or real(*args, **kw))
    monkeypatch.setattr(sending, "_PATIENCE_S", 60.0)  # on a busy machine the rest would be left to workers
    names = [new_id() for _ in range(60)]
    with pytest.raises(ChangedMindError), transaction.atomic(using=PRIVATE):
        start_workflow("orders:collect", 9, id="rolled-back", using=PRIVATE)
        raise ChangedMindError
    with transaction.atomic(using=PRIVATE):
        for name in names:
            start_workflow("orders:collect", 9, id=name, using=PRIVATE)
            signal(name, "number", {"n": 1}, using=PRIVATE)
    assert len(passes) <= 3
    assert {row.state for row in tables.objects.using(PRIVATE).all()} == {"sent"}
    for name in names:
        client().get_workflow(name).terminate()


def test_redis_away_costs_one_short_wait_and_nothing_is_lost(
    served: Shop, tables: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.integrations.django import sending, start_workflow
    from orchestration.store.opening import open_connection
    from orchestration.tasks.runtime import Runtime
    from tests.web.shop.celery import orchestration

    def away(_: Any) -> Runtime:
        connection = open_connection("redis://127.0.0.1:1/0", patience_s=0.2, connect_s=0.2)
        return Runtime(orchestration.app, orchestration.settings, orchestration.registry, connection)

    monkeypatch.setattr(sending, "impatient_runtime", away)
    monkeypatch.setattr(sending, "_process", None)
    tried: list[Any] = []
    real = sending.send_due
    monkeypatch.setattr(sending, "send_due", lambda *args, **kw: tried.append(1) or real(*args, **kw))
    handles = [start_workflow("orders:fulfil", name, id=name) for name in (new_id(), new_id(), new_id())]
    assert len(tried) == 1, "requests wait for a Redis that was away a moment ago"
    wait_until(lambda: not tables.objects.filter(state="pending").exists(), deadline_s=30)  # a worker has sent them
    assert [handle.result(timeout=30) for handle in handles]
    assert {row.attempts for row in tables.objects.all()} == {1}, "an absent Redis is no failed attempt"


def test_what_cannot_be_sent_is_dead_at_once_or_after_its_attempts(shop: Shop, tables: Any) -> None:
    from orchestration.integrations.django import signal, start_workflow

    name, missing = new_id(), new_id()
    with left_to_workers():
        start_workflow("orders:collect", 2, id=name, using=PRIVATE)
        start_workflow("orders:collect", 2, id=name, using=PRIVATE)  # refused: it is open
        signal(name, "number", {"n": 1}, using=PRIVATE)  # goes on all the same
        signal(missing, "number", {"n": 1}, using=PRIVATE)
        signal(missing, "number", {"n": 2}, using=PRIVATE)
    done = send_once(outbox_attempts=2)
    assert len(done.sent) == 2
    assert state_of(tables, name, PRIVATE) == [("start", "sent", 1), ("start", "dead", 1), ("signal", "sent", 1)]
    assert state_of(tables, missing, PRIVATE) == [("signal", "pending", 1), ("signal", "pending", 0)]
    first = tables.objects.using(PRIVATE).filter(workflow_id=missing).order_by("id").first()
    assert "WorkflowNotFoundError" in first.error
    assert send_once(outbox_attempts=2).failed == [], "it is not tried again before its pause is over"
    tables.objects.using(PRIVATE).filter(pk=first.pk).update(next_try_at=None)
    send_once(outbox_attempts=2)
    assert state_of(tables, missing, PRIVATE) == [("signal", "dead", 2), ("signal", "pending", 1)]  # no longer held up


def test_an_error_that_no_database_can_keep_holds_up_nobody_else(
    shop: Shop, tables: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.integrations.django import sending, start_workflow

    bad, good = new_id(), new_id()
    with left_to_workers():
        start_workflow("orders:collect", 1, id=bad, using=PRIVATE)
        start_workflow("orders:collect", 1, id=good, using=PRIVATE)
    send = sending._send

    def fail_for_one(runtime: Any, entry: Any) -> None:
        if entry.workflow_id == bad:
            raise ValueError("half a character: \ud83d, and \0")
        send(runtime, entry)

    monkeypatch.setattr(sending, "_send", fail_for_one)
    monkeypatch.setattr(sending.logger, "disabled", True)  # reports of tests go by UTF-8
    send_once()
    assert state_of(tables, bad, PRIVATE) == [("start", "dead", 1)]
    assert state_of(tables, good, PRIVATE) == [("start", "sent", 1)]


def test_a_connection_that_cannot_even_be_closed_does_not_end_the_pump(
    shop: Shop, tables: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import DatabaseError, connections

    from orchestration.integrations.django.pump import OutboxPump
    from tests.web.shop.celery import orchestration

    def fail(*_: Any) -> Any:
        raise DatabaseError("not connected")

    pump = OutboxPump(orchestration)
    monkeypatch.setattr(pump, "turn", fail)
    monkeypatch.setattr(connections[PRIVATE], "close", fail)
    assert pump._look(PRIVATE) > 0


def from_tomorrow() -> dict[str, tuple[str, bytes]]:
    """What a newer release may write: a kind and a payload for each way in which it can be unknown here."""
    from orchestration.core import payload

    start = {"workflow_type": "orders:collect", "args": payload.encode([1]), "workflow_id": "w", "request_id": "r"}
    return {
        "another format": ("start", payload.encode([2, {}])),
        "another encoding": ("start", b"\xc1"),
        "a new option": ("start", payload.encode([1, {**start, "tomorrow": 1}])),
        "a new policy": ("start", payload.encode([1, {**start, "conflict": "tomorrow"}])),
        "another form of an option": ("start", payload.encode([1, {**start, "signals": [["t", b"", 1]]}])),
        "another form of the identity": ("start", payload.encode([1, {**start, "identity": "ann"}])),
        "a workflow that is not known yet": ("start", payload.encode([1, {**start, "workflow_type": "orders:new"}])),
        "a new part of a message": ("signal", payload.encode([1, {"topic": "t", "values": [], "delay": 1}])),
        "a message without a part": ("signal", payload.encode([1, {"topic": "t"}])),
        "a new kind": ("tomorrow", payload.encode([1, {"topic": "t", "values": []}])),
    }


def test_what_a_newer_release_wrote_waits_for_it_however_long(
    shop: Shop, tables: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A rolling deployment may last a day: what the old half cannot send must not be dead when the new half comes."""
    from django.utils import timezone

    from orchestration.integrations.django import sending

    written = from_tomorrow()
    old = timezone.now() - timedelta(days=3)
    rows = tables.objects.using(PRIVATE)
    for name, (kind, packed) in written.items():
        rows.create(kind=kind, namespace="default", workflow_id=name, what="x", payload=packed, created_at=old)
        rows.create(kind="signal", namespace="default", workflow_id=name, what="x", payload=packed)  # waits behind it
    sending._warn_from.clear()
    for _ in range(3):
        done = send_once(outbox_attempts=1)
        assert {entry.workflow_id: type(error) for entry, error in done.left} == {
            name: EntryNotFoundError if "workflow" in name else DecodeError for name in written
        }
        assert not done.failed
        assert not done.sent
        for name, (kind, _) in written.items():
            assert state_of(tables, name, PRIVATE) == [(kind, "pending", 0), ("signal", "pending", 0)], name
        waiting = rows.filter(next_try_at__isnull=False)
        assert {entry.workflow_id for entry in waiting} == set(written)
        assert all(entry.error for entry in waiting)
        assert not send_once().left, "they are looked at again after a pause"
        waiting.update(next_try_at=None)
    warnings = [record for record in caplog.records if "newer" in record.getMessage()]
    assert len(warnings) == 1, "one a minute, however many they are"


def test_what_waits_for_a_newer_worker_is_soon_found_by_it(shop: Shop, tables: Any) -> None:
    from django.utils import timezone

    rows = tables.objects.using(PRIVATE)
    ages = {"now": timedelta(), "hour": timedelta(hours=1), "ahead": timedelta(hours=-1)}
    for name, age in ages.items():
        rows.create(kind="start", namespace="default", workflow_id=name, what="x", payload=b"\xc1",
                    created_at=timezone.now() - age)  # fmt: skip
    begun = timezone.now()
    send_once()
    pauses = {entry.workflow_id: (entry.next_try_at - begun).total_seconds() for entry in rows.all()}
    assert pauses["now"] < 30
    assert pauses["ahead"] < 30  # clocks differ
    assert 55 < pauses["hour"] < 90


def test_old_entries_are_removed_and_only_those_that_were_sent(shop: Shop, tables: Any) -> None:
    from django.utils import timezone

    from orchestration.integrations.django.sending import remove_old
    from tests.web.shop.celery import orchestration

    old = timezone.now() - timedelta(days=2)
    for state in ("sent", "dead", "pending"):
        for number in range(3):
            tables.objects.using(PRIVATE).create(
                kind="signal", state=state, namespace="default", workflow_id=f"{state}{number}", what="x", payload=b"",
                created_at=old, sent_at=old if state == "sent" else None, next_try_at=timezone.now() + timedelta(1),
            )  # fmt: skip
    tables.objects.using(PRIVATE).filter(workflow_id="sent2").update(sent_at=timezone.now())
    assert remove_old(PRIVATE, orchestration.django, limit=1) == 1
    assert remove_old(PRIVATE, orchestration.django) == 1
    left = {row.workflow_id for row in tables.objects.using(PRIVATE).all()}
    assert left == {"sent2", "dead0", "dead1", "dead2", "pending0", "pending1", "pending2"}


def test_each_database_has_an_outbox_of_its_own(served: Shop, tables: Any) -> None:
    from django.db import transaction

    from orchestration.integrations.django import signal, start_workflow

    name = new_id()
    with left_to_workers(), transaction.atomic(using="archive"):
        handle = start_workflow("orders:collect", 1, id=name, using="archive")
        signal(name, "number", {"n": 1}, using="archive")
    wait_until(lambda: not tables.objects.using("archive").filter(state="pending").exists(), deadline_s=30)
    assert handle.result(timeout=30) == {"found": [1]}
    assert not tables.objects.exists()
    assert {row.state for row in tables.objects.using("archive").all()} == {"sent"}
    with pytest.raises(ConfigError, match="outbox_databases"):
        start_workflow("orders:collect", 1, using="unwatched")


def test_mistakes_are_told_in_the_transaction(shop: Shop, tables: Any) -> None:
    from orchestration.integrations.django import cancel, signal, start_workflow

    with pytest.raises(EntryNotFoundError, match="orders:fulfil"):
        start_workflow("orders:fulfill", 1)
    with pytest.raises(EntryNotFoundError, match=r"function\.celery"):
        start_workflow("orders:note", 1)
    with pytest.raises(EncodeError):
        start_workflow("orders:fulfil", object())
    with pytest.raises(TypeError, match="priority"):
        start_workflow("orders:fulfil", 1, priority=3)
    with pytest.raises(TypeError, match="update"):
        start_workflow("orders:fulfil", 1, update=object())
    with pytest.raises(ValueError, match="policy"):
        start_workflow("orders:fulfil", 1, id_conflict_policy="perhaps")
    with pytest.raises(ValueError, match="schedule or a start delay"):
        start_workflow("orders:fulfil", 1, cron_schedule="@daily", start_delay=timedelta(days=1))
    with pytest.raises(EncodeError):
        signal("w", "topic", {1: object()})
    with pytest.raises(ValueError, match="@"):
        signal("w", "@topic")
    with pytest.raises(ValueError, match="workflow id"):
        signal("", "topic")
    with pytest.raises(TypeError):
        cancel("w", 3)  # type: ignore[arg-type]
    assert not tables.objects.exists()


def test_a_start_with_everything_comes_out_as_it_went_in(shop: Shop) -> None:
    from orchestration.integrations.django.calls import pack_start, unpack_start
    from tests.web.shop.celery import orchestration

    wanted = start_request(
        orchestration.settings, orchestration.registry, "orders:fulfil", ["a", {"b": [1, 2.5, None, b"\0"]}],
        id="it", request_id="r", id_conflict_policy="use_existing", id_reuse_policy="reject_duplicate", task_queue="q",
        run_timeout=timedelta(hours=1), execution_timeout=timedelta(hours=2), cancel_grace=timedelta(seconds=3),
        start_delay=timedelta(seconds=4), retry_policy=RetryPolicy(maximum_attempts=3), search={"k": "v"},
        memo={"m": [1]}, summary="s", details="d", context={"c": 1}, actor=Actor("ann", {"role": "x"}), scope=[],
        signals=[("t", [1, 2])],
    )  # fmt: skip
    assert unpack_start(memoryview(pack_start(wanted))) == wanted  # type: ignore[arg-type]
    small = start_request(orchestration.settings, orchestration.registry, "orders:fulfil", [], id="it")
    assert unpack_start(pack_start(small)) == small
    assert len(pack_start(small)) < 120


def test_an_async_view_starts_and_waits(served: Shop, tables: Any) -> None:
    from django.test import AsyncClient as Browser

    async def main() -> list[Any]:
        names = [new_id() for _ in range(3)]
        answers = await asyncio.gather(*(Browser().post(f"/async/{name}") for name in names))
        return [(answer.json()["result"], f"fulfilled {name}") for name, answer in zip(names, answers, strict=True)]

    for _ in range(2):  # a client outlives no event loop, and need not
        for found, expected in asyncio.run(main()):
            assert found == expected


def test_the_view_of_a_site(served: Shop, tables: Any) -> None:
    from django.test import Client as Browser

    from orchestration.integrations.django import client
    from tests.web.shop.orders.models import Order

    kept, lost = new_id(), new_id()
    assert Browser().post(f"/orders/{lost}?fail=1").status_code == 409
    assert Browser().post(f"/orders/{kept}").json() == {"id": f"order-{kept}"}
    assert client().get_workflow(f"order-{kept}").result(timeout=30) == f"fulfilled {kept}"
    assert client().get_workflow(f"signals-{kept}").result(timeout=30) == {"found": [0, 1, 2]}
    assert list(Order.objects.values_list("name", flat=True)) == [kept]

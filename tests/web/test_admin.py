"""The admin: who may see and do what; everything that comes from outside is shown as text."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from orchestration.errors import StoreUnavailableError, WorkflowClosedError
from tests.support import wait_until
from tests.support.odd import ODD_PATHS, ODD_TEXTS
from tests.web.site import Shop

EVIL = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7654321*7 }}"
PAGES = ("", "show/", "act/", "start/")
ROOT = "/admin/orchestration/run/"
OUTBOX = "/admin/orchestration/outboxentry/"
ACTS = {
    "signal": "signal_run", "cancel": "cancel_run", "terminate": "terminate_run", "pause": "pause_run",
    "resume": "pause_run", "retry": "retry_run", "reset": "reset_run",
}  # fmt: skip


OUTBOX_PAGES = ("", "add/", "<path:object_id>/history/", "<path:object_id>/delete/", "<path:object_id>/change/")
"""Django's own, of which those that write are refused to everybody but for deleting, which has a permission."""


@pytest.fixture
def browser(tables: Any) -> Iterator[Any]:
    """Logs somebody in: ``browser("view_run", ...)`` with these permissions, ``browser()`` with none."""
    from django.contrib.auth.models import Permission, User
    from django.test import Client as Browser

    def log_in(*permissions: str, **options: Any) -> Any:
        user = User.objects.create_user(f"u{uuid.uuid4().hex[:8]}", password="x", is_staff=True)
        found = Permission.objects.filter(codename__in=permissions, content_type__app_label="orchestration")
        assert len(found) == len(permissions), permissions
        user.user_permissions.set(found)
        made = Browser(**options)
        made.force_login(user)
        return made

    yield log_in
    User.objects.all().delete()


@pytest.fixture
def evil(served: Shop) -> Any:
    """A run whose id, input, topic, summary, attributes and error are full of markup."""
    from orchestration.integrations.django import client

    handle = client().start_workflow(
        "orders:collect", 1, EVIL, id=f"{EVIL}{uuid.uuid4().hex}", summary=EVIL, memo={"m": EVIL},
        search={EVIL: EVIL}, details=EVIL,
    )  # fmt: skip
    wait_until(lambda: handle.describe().history_length, deadline_s=30)
    handle.pause(EVIL, by=EVIL)
    handle.signal(EVIL, EVIL)
    handle.resume()
    handle.result(timeout=30)
    return handle


def test_every_page_and_action_has_its_cases() -> None:
    """A page or an action that is added without them is not covered by the tests below."""
    from django.contrib import admin
    from django.urls import get_resolver

    from orchestration.integrations.django.admin.runs import _ACTS
    from orchestration.integrations.django.models import OutboxEntry, Run

    assert {str(route.pattern) for route in admin.site._registry[Run].get_urls()} == set(PAGES)
    outbox = {str(route.pattern) for route in admin.site._registry[OutboxEntry].get_urls()}
    assert outbox == set(OUTBOX_PAGES) | {"<path:object_id>/"}  # the last leads to the page of an entry
    assert {model._meta.app_label for model in admin.site._registry} >= {"orchestration"}
    registered = {model for model in admin.site._registry if model._meta.app_label == "orchestration"}
    assert registered == {Run, OutboxEntry}
    assert {act: needed for act, (needed, _) in _ACTS.items()} == ACTS
    assert get_resolver().resolve(ROOT)


def text_of(answer: Any) -> str:
    found: str = answer.content.decode()
    return found


def assert_only_text(page: str) -> None:
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "<img/src" not in page
    assert "onerror=alert" not in page.replace("onerror=alert(1)&gt;", "").replace("onerror%3Dalert", "")
    assert "{{ 7654321*7 }}" in page or "53580247" not in page


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_read_without_login(served: Shop, tables: Any, page: str) -> None:
    from django.contrib.auth.models import User
    from django.test import Client as Browser

    for method in ("get", "post"):
        answer = getattr(Browser(), method)(ROOT + page)
        assert answer.status_code == 302
        assert "/admin/login/" in answer["Location"]
    customer = User.objects.create_user(f"c{uuid.uuid4().hex[:8]}", password="x")  # no staff
    shopper = Browser()
    shopper.force_login(customer)
    assert shopper.get(ROOT + page).status_code == 302
    customer.delete()


@pytest.mark.parametrize("page", OUTBOX_PAGES)
def test_nothing_of_the_outbox_is_read_or_written_without_permission(
    served: Shop, tables: Any, browser: Any, page: str
) -> None:
    from django.test import Client as Browser

    from orchestration.integrations.django.calls import pack_message

    entry = tables.objects.create(
        kind="signal", state="dead", namespace="default", workflow_id="secret-id", what="t",
        payload=pack_message("t", []),
    )  # fmt: skip
    url = OUTBOX + page.replace("<path:object_id>", str(entry.pk))
    everything_else = (*set(ACTS.values()), "view_run", "start_run", "view_run_data")
    forms = ({"post": "yes"}, {"action": "send_again", "_selected_action": [entry.pk]},
             {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"})  # fmt: skip
    for given in forms:
        for method in ("get", "post"):
            answer = getattr(Browser(), method)(url, given)
            assert answer.status_code == 302
            assert "/admin/login/" in answer["Location"]
            answer = getattr(browser(*everything_else), method)(url, given)
            assert answer.status_code == 403
            assert "secret-id" not in text_of(answer)
        strict = browser("view_outboxentry", "delete_outboxentry", "resend_outboxentry", enforce_csrf_checks=True)
        assert strict.post(url, given).status_code == 403, "without its token, a form of another site is refused"
        browser("view_outboxentry").post(url, given)
    assert tables.objects.get().state == "dead"


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_read_without_permission(served: Shop, browser: Any, page: str) -> None:
    allowed = {"start/": ("view_run",)}.get(page, ())
    method = "post" if page == "act/" else "get"
    assert getattr(browser(*allowed), method)(ROOT + page, {"act": "signal"}).status_code == 403
    everything_else = (set(ACTS.values()) | {"start_run", "view_run_data"}) - ({"start_run"} if allowed else set())
    assert getattr(browser(*everything_else), method)(ROOT + page, {"act": "signal"}).status_code == 403


@pytest.mark.parametrize("act", ACTS)
def test_each_action_has_a_permission_of_its_own(served: Shop, browser: Any, act: str) -> None:
    from orchestration.integrations.django import client

    handle = client().start_workflow("orders:collect", 1)
    given = {"act": act, "workflow": handle.id, "topic": "t", "value": '{"n": 1}', "reason": "r", "event": "last"}
    others = set(ACTS.values()) - {ACTS[act]} | {"view_run", "view_run_data", "start_run"}
    seen = browser(*others).get(f"{ROOT}show/", {"workflow": handle.id})
    assert f'id="{act}-form"' not in text_of(seen)
    assert browser(*others).post(f"{ROOT}act/", given).status_code == 403
    assert handle.describe().status == "running"
    strict = browser("view_run", ACTS[act], enforce_csrf_checks=True)
    assert strict.post(f"{ROOT}act/", given).status_code == 403, "without its token, a form of another site is refused"
    assert browser("view_run", ACTS[act]).get(f"{ROOT}act/", given).status_code == 405
    handle.terminate()


def test_the_actions_do_what_they_say(served: Shop, browser: Any) -> None:
    from django.contrib.admin.models import LogEntry

    from orchestration.integrations.django import client

    operator = browser("view_run", "view_run_data", "start_run", *set(ACTS.values()))
    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    answer = operator.post(f"{ROOT}start/", {"type": "orders:collect", "id": name, "args": "[9007199254740993, 10.0]"})
    assert answer.status_code == 302, text_of(answer)
    handle = client().get_workflow(name)
    wait_until(lambda: handle.describe().history_length, deadline_s=30)
    shown = operator.get(f"{ROOT}show/", {"workflow": name}).content.decode()
    assert re.sub(r"\s", "", shown.partition('id="run-input">')[2].partition("<")[0]) == "[9007199254740993,10.0]"

    def act(what: str, **given: str) -> str:
        page = operator.post(f"{ROOT}act/", {"act": what, "workflow": name, **given}, follow=True)
        assert page.status_code == 200
        return text_of(page)

    assert "is paused" in act("pause", reason="lunch")
    assert handle.describe().paused.endswith("lunch")
    assert "goes on" in act("resume")
    assert "has been sent" in act("signal", topic="number", value='{"n": 1}')
    assert "not JSON" in act("signal", topic="number", value="{n")
    assert "64 bits" in act("signal", topic="number", value="9223372036854775808")
    assert "beyond all floats" in act("signal", topic="number", value="1e400")
    assert "not begin with" in act("signal", topic="@x", value="1")
    assert "not parked" in act("retry")
    assert "asked to end" in act("cancel", reason="enough")
    assert handle.result(timeout=30) == {"cancelled": True, "found": [1]}
    assert "taken the place" in act("reset", event="start")
    assert "has been ended" in act("terminate", reason="done with it")
    assert handle.describe().status == "terminated"
    assert LogEntry.objects.filter(object_id=name).count() == 7
    assert operator.get(f"{ROOT}show/", {"workflow": "nobody"}).status_code == 404
    assert operator.post(f"{ROOT}act/", {"act": "explode", "workflow": name}).status_code == 404
    refused = operator.post(f"{ROOT}start/", {"type": "orders:nothing", "args": "[]"})
    assert refused.status_code == 200
    assert "orders:nothing" in text_of(refused)
    assert "JSON list" in text_of(operator.post(f"{ROOT}start/", {"type": "orders:collect", "args": "{}"}))


def test_markup_is_shown_as_text(browser: Any, evil: Any) -> None:
    from orchestration.integrations.django import client

    operator = browser("view_run", "view_run_data", "start_run", *set(ACTS.values()))
    queries = [
        (ROOT, {}), (ROOT, {"q": EVIL, "type": EVIL, "status": EVIL, "since": EVIL}), (ROOT, {"where": EVIL}),
        (ROOT, {"namespace": EVIL}), (ROOT, {"cursor": EVIL}), (f"{ROOT}show/", {"workflow": evil.id}),
        (f"{ROOT}show/", {"workflow": evil.id, "after": "0"}), (f"{ROOT}show/", {"workflow": EVIL}),
        (f"{ROOT}start/", {"type": EVIL, "id": EVIL, "args": EVIL}),
    ]  # fmt: skip
    for url, query in queries:
        answer = operator.get(url, query)
        assert answer.status_code in (200, 400, 404), (url, query, answer.status_code)
        assert_only_text(text_of(answer))
    odd = client().start_workflow("x:<img/src=x/onerror=alert(1)>", id=uuid.uuid4().hex, task_queue="nobody")
    for url, query in ((ROOT, {"q": odd.id}), (f"{ROOT}show/", {"workflow": odd.id})):
        page = text_of(operator.get(url, query))
        assert odd.id in page
        assert_only_text(page.replace("x:&lt;img/src=x/onerror=alert(1)&gt;", ""))
    odd.terminate()
    shown = text_of(operator.get(f"{ROOT}show/", {"workflow": evil.id}))
    assert shown.count("&lt;script&gt;alert(") >= 4
    for given in ({"act": "signal", "topic": EVIL, "value": EVIL}, {"act": "reset", "event": EVIL}):
        assert_only_text(text_of(operator.post(f"{ROOT}act/", {"workflow": evil.id, **given}, follow=True)))
    assert_only_text(text_of(operator.post(f"{ROOT}start/", {"type": EVIL, "id": EVIL, "args": json.dumps([EVIL])})))
    assert_only_text(text_of(operator.get("/admin/")))  # its list of what was done lately


def test_data_of_runs_is_for_those_who_may_see_it(browser: Any, evil: Any) -> None:
    page = text_of(browser("view_run").get(f"{ROOT}show/", {"workflow": evil.id}))
    assert "run-input" not in page
    assert "run-ending" not in page
    assert "Facts" not in page
    assert "run-input" in text_of(browser("view_run", "view_run_data").get(f"{ROOT}show/", {"workflow": evil.id}))


def test_the_list_has_filters_and_pages(served: Shop, browser: Any) -> None:
    from orchestration.integrations.django import client

    prefix = f"list-{uuid.uuid4().hex[:8]}-"
    for number in range(60):
        client().start_workflow("orders:collect", 1, id=f"{prefix}{number:02}")
    viewer = browser("view_run")
    first = text_of(viewer.get(ROOT, {"q": prefix, "status": "open", "since": "1h", "type": "orders:collect"}))
    assert first.count(prefix) >= 50
    older = re.search(r'href="([^"]*cursor=[^"]*)"', first)
    assert older
    second = text_of(viewer.get(older[1].replace("&amp;", "&")))
    seen = set(re.findall(rf">({prefix}\d\d)<", first)) | set(re.findall(rf">({prefix}\d\d)<", second))
    assert len(seen) == 60
    assert "There are no such runs" in text_of(viewer.get(ROOT, {"q": prefix, "status": "failed"}))
    wrong = viewer.get(ROOT, {"where": "amount >"})
    assert wrong.status_code == 400
    assert "errornote" in text_of(wrong)
    for number in range(60):
        client().get_workflow(f"{prefix}{number:02}").terminate()


def test_a_redis_that_is_away_is_said(served: Shop, browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration.integrations.django.admin import runs

    def away(*_: Any) -> Any:
        raise StoreUnavailableError("no reply from Redis")

    monkeypatch.setattr(runs, "prompt_client", away)
    viewer = browser("view_run")
    for url in (ROOT, f"{ROOT}show/?workflow=x"):
        answer = viewer.get(url)
        assert answer.status_code == 503
        assert "no reply from Redis" in text_of(answer)


def test_the_outbox_is_shown_and_dead_entries_are_sent_again(served: Shop, browser: Any, tables: Any) -> None:
    from orchestration.integrations.django.calls import pack_message

    url = "/admin/orchestration/outboxentry/"
    entry = tables.objects.create(
        kind="signal", state="dead", namespace="default", workflow_id=EVIL, what=EVIL, attempts=20, error=EVIL,
        payload=pack_message(EVIL, [EVIL]),
    )  # fmt: skip
    assert browser("view_run").get(url).status_code == 403
    viewer = browser("view_outboxentry")
    for page in (url, f"{url}{entry.pk}/change/"):
        assert_only_text(text_of(viewer.get(page)))
    assert "field-content" not in text_of(viewer.get(f"{url}{entry.pk}/change/"))
    for word in ("field-error_line", "column-error_line"):  # errors show data
        assert word not in text_of(viewer.get(url))
        assert word in text_of(browser("view_outboxentry", "view_run_data").get(url))
    reader = browser("view_outboxentry", "view_run_data")
    shown = text_of(reader.get(f"{url}{entry.pk}/change/"))
    assert "field-content" in shown
    assert_only_text(shown)
    again = {"action": "send_again", "_selected_action": [entry.pk]}
    viewer.post(url, again)
    assert tables.objects.get().state == "dead"
    assert viewer.get(f"{url}add/").status_code == 403
    assert viewer.post(f"{url}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    operator = browser("view_outboxentry", "resend_outboxentry", "delete_outboxentry")
    assert "1 dead entries are sent again" in text_of(operator.post(url, again, follow=True))
    assert tables.objects.get().attempts <= 1
    broken = tables.objects.create(
        kind="start", state="dead", namespace="default", workflow_id="w", what="x", payload=b"\xc1"
    )
    assert "cannot be read" in text_of(reader.get(f"{url}{broken.pk}/change/"))


ODD_FIELDS = {
    "": ("namespace", "status", "type", "q", "since", "where", "cursor"),
    "show/": ("workflow", "namespace", "run", "after"),
    "start/": ("type", "id", "args"),
}


@pytest.mark.slow
@pytest.mark.parametrize("page", ODD_FIELDS)
def test_no_text_in_a_url_is_too_much(served: Shop, browser: Any, evil: Any, page: str) -> None:
    operator = browser("view_run", "view_run_data", "start_run")
    for name in ODD_FIELDS[page]:
        for odd, value in ODD_TEXTS.items():
            answer = operator.get(ROOT + page, {"workflow": evil.id, name: value})
            assert answer.status_code in (200, 400, 404), (name, odd)
        for sent in ("%FF", "%ED%A0%80", "%", "%zz", f"1&{name}=%00&{name}=x"):
            assert operator.get(f"{ROOT}{page}?{name}={sent}").status_code in (200, 400, 404), (name, sent)


def test_entries_are_chosen_by_their_keys_alone(served: Shop, browser: Any) -> None:
    operator = browser("view_outboxentry", "resend_outboxentry")
    for key in ("9" * 5000, "9" * 30, "-1", "", "x", "1 or 1"):
        answer = operator.post(OUTBOX, {"action": "send_again", "_selected_action": ["1", key]})
        assert answer.status_code == 400, key


def test_a_history_goes_on_from_no_number_that_is_none(browser: Any, evil: Any) -> None:
    viewer = browser("view_run", "view_run_data")
    for after in ("9" * 5000, "9" * 30, "-1", "\u0663", "x"):
        answer = viewer.get(f"{ROOT}show/", {"workflow": evil.id, "after": after})
        assert answer.status_code == 200, after
        assert 'id="event-1"' in text_of(answer) or ">1<" in text_of(answer), after


def test_no_text_in_a_form_is_too_much(served: Shop, browser: Any) -> None:
    from orchestration.integrations.django import client

    operator = browser("view_run", *set(ACTS.values()))
    fields = {"signal": ("topic", "value", "workflow", "namespace", "run", "act"), "reset": ("event",)}
    for act in ACTS:
        handle = client().start_workflow("orders:collect", 1)
        good = {"act": act, "workflow": handle.id, "topic": "t", "value": "1", "event": "last"}
        for name in fields.get(act, ("reason",)):
            for odd, value in (ODD_TEXTS | {"half a character": '["\\ud800"]'}).items():
                answer = operator.post(f"{ROOT}act/", {**good, name: value})
                assert answer.status_code in (302, 404), (act, name, odd)
        with suppress(WorkflowClosedError):
            handle.terminate()


def test_no_text_in_the_form_of_a_start_is_too_much(served: Shop, browser: Any) -> None:
    operator = browser("view_run", "start_run")
    more = {"half a character": '["\\ud800"]', "long number": f"[{'9' * 5000}]"}
    for name in ("type", "id", "args"):
        for odd, value in (ODD_TEXTS | more).items():
            answer = operator.post(f"{ROOT}start/", {"type": "orders:nothing", "args": "[]", name: value})
            assert answer.status_code in (200, 302, 400), (name, odd)


@pytest.mark.slow
def test_no_text_in_a_url_of_the_outbox_is_too_much(served: Shop, browser: Any) -> None:
    reader = browser("view_outboxentry", "view_run_data", "delete_outboxentry", "resend_outboxentry")
    for odd, value in ODD_TEXTS.items():
        for name in ("q", "p", "o", "all", "e", "state__exact", "kind__exact", "created_at__gte", "id__exact", "other"):
            assert reader.get(OUTBOX, {name: value}).status_code in (200, 302, 400), (name, odd)
        answer = reader.post(OUTBOX, {"action": "send_again", "_selected_action": value})
        assert answer.status_code in (200, 302, 400), odd
    for name in ODD_PATHS:
        for page in ("change", "delete", "history"):
            assert reader.get(f"{OUTBOX}{name}/{page}/").status_code in (302, 404), (name, page)

"""The doors between Lua modules and Python."""

from __future__ import annotations

from typing import Any, cast

import pytest

from orchestration.core import payload
from orchestration.core.lua.host import HostError
from orchestration.modules import verbs
from orchestration.modules.caller import Caller, Identity
from orchestration.settings import Settings


class _Runtime:
    settings = Settings(payload_bytes=1024)


@pytest.fixture
def caller() -> Caller:
    return Caller(runtime=cast("Any", _Runtime()), entry_id="a:b", pid="{a|b}")


@pytest.fixture(autouse=True)
def _fresh_verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "_VERBS", {})


def test_a_verb_answers_with_its_value(caller: Caller) -> None:
    verbs.verb("try.add")(lambda _caller, a, b: a + b)
    assert verbs.perform(caller, "try.add", payload.encode([1, 2])) == (True, payload.encode(3))


def test_what_a_verb_raises_becomes_an_error_of_its_kind(caller: Caller) -> None:
    def refuse(_caller: Caller) -> None:
        raise HostError("PermissionDenied", "not allowed")

    verbs.verb("try.refuse")(refuse)
    ok, failure = verbs.perform(caller, "try.refuse", payload.encode([]))
    assert not ok
    assert payload.decode_failure(failure)["kind"] == "PermissionDenied"


def test_a_slow_verb_is_not_done_in_the_middle_of_a_step(caller: Caller) -> None:
    verbs.verb("try.slow")(lambda _caller: 1)
    ok, failure = verbs.perform(caller, "try.slow", payload.encode([]), now=True)
    assert not ok
    assert "middle of a step" in payload.decode_failure(failure)["message"]


@pytest.mark.parametrize("name", ["nowhere.get", "", "../x.y", "verbs.nothing"])
def test_an_unknown_verb_is_an_error(caller: Caller, name: str) -> None:
    ok, failure = verbs.perform(caller, name, payload.encode([]))
    assert not ok
    assert "no verb" in payload.decode_failure(failure)["message"]


def test_a_result_above_the_limit_is_refused(caller: Caller) -> None:
    verbs.verb("try.much")(lambda _caller: "x" * 5000)
    assert not verbs.perform(caller, "try.much", payload.encode([]))[0]


def test_an_identity_is_inherited_field_by_field() -> None:
    outer = Identity({"id": "ann"}, ("a:p",))
    assert Identity.of({}, outer) == outer
    assert Identity.of({"scope": []}, outer) == Identity({"id": "ann"}, ())
    assert Identity.of(outer.fields()) == outer
    assert Identity().fields() == {}

"""Tokens: made, validated, revoked, ended; what the store has of them is worth nothing by itself."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.client.identity import identity_of
from orchestration.tasks.functions import run_function
from orchestration.testing import WorkflowEnvironment
from tests.support.guarded import ANN, everything, project, tokens

NOT_VALID = ["Invalid", "the token is not valid"]
AS_ANN = {"id": "ann", "role": "admin", "ids": everything}
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.write(tmp_path_factory.mktemp("config"))


@pytest.fixture
def env(folder: Path) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(folder) as env:
        yield env


@pytest.fixture
def ask(env: WorkflowEnvironment) -> Ask:
    runtime = env.app.orchestration.runtime

    def call(*args: Any, scope: list[str] | None = None) -> Any:
        identity = identity_of(runtime.registry.policies, ANN, scope)
        return run_function(runtime, tokens, args, context={}, identity=identity)

    return call


@pytest.mark.parametrize("store", ["app:tokens", "app:plain_tokens"])
def test_a_token_stands_for_an_actor_and_a_scope_until_it_is_revoked(ask: Ask, store: str) -> None:
    token, other = ask("create", store), ask("create", store)
    assert len({token, other}) == 2
    assert len(token) == (43 if store == "app:tokens" else 22)
    assert ask("validate", store, token) == AS_ANN
    assert ask("call_as", store, token)["id"] == "ann"
    assert ask("revoke", store, token) is True
    assert ask("revoke", store, token) is False
    assert ask("validate", store, token) == NOT_VALID
    assert ask("validate", store, other) == AS_ANN


@pytest.mark.parametrize("text", ["", "x", "x" * 5000, b"\xff\xfe"])
def test_what_is_no_token_is_not_valid(ask: Ask, text: str | bytes) -> None:
    assert ask("validate", "app:tokens", text) == NOT_VALID


@pytest.mark.parametrize(
    ("options", "lasts_s"), [(None, 3600), ({"expiration": 5000}, 5), ({"expiration": "2m"}, 120)]
)
def test_a_token_ends(env: WorkflowEnvironment, ask: Ask, options: Any, lasts_s: int) -> None:
    token = ask("create", "app:tokens", options)
    env.skip(timedelta(seconds=lasts_s - 1))
    assert ask("validate", "app:tokens", token) == AS_ANN
    env.skip(timedelta(seconds=2))
    assert ask("validate", "app:tokens", token) == NOT_VALID


@pytest.mark.parametrize("expiration", [0, -1, "soon", True, {"a": 1}, "1000000h"])
def test_an_expiration_that_is_none_is_refused(ask: Ask, expiration: Any) -> None:
    assert ask("create", "app:tokens", {"expiration": expiration})[0] == "Invalid"


def test_the_store_has_no_token_and_the_log_neither(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        token = ask("create", "app:tokens")
        assert ask("validate", "app:tokens", token) == AS_ANN
        (item,) = ask("stored")
    assert token not in repr(item)
    assert hashlib.sha256(token.encode()).hexdigest() not in repr(item)  # the digest has a key
    assert token not in caplog.text
    assert "k" * 32 not in caplog.text


def test_with_a_key_nobody_makes_a_token_by_writing_to_the_store(ask: Ask) -> None:
    token = ask("create", "app:tokens")
    (item,) = ask("stored")
    mine = hashlib.sha256(b"token\0app:plain_tokens\0mine").hexdigest()  # as it is where there is no key
    for key in (f"token/{mine}", item["key"][:-1] + ("0" if item["key"][-1] != "0" else "1")):
        ask("forge", item["key"], key)
    assert ask("validate", "app:tokens", "mine") == NOT_VALID
    assert ask("validate", "app:plain_tokens", "mine") == NOT_VALID  # of another store, signed with another key
    assert ask("validate", "app:tokens", token) == AS_ANN


def test_tokens_of_one_store_are_none_of_another(ask: Ask) -> None:
    assert ask("validate", "app:plain_tokens", ask("create", "app:tokens")) == NOT_VALID
    assert ask("validate", "app:tokens", ask("create", "app:plain_tokens")) == NOT_VALID


def test_a_store_that_is_closed_or_not_there(ask: Ask) -> None:
    assert ask("open", "app:tokens") == "security.TokenStore{}"
    assert ask("open", "app:sessions") == ["NotFound", "there is no token store app:sessions"]
    assert ask("open", "") == ["Invalid", "token store ID required"]
    closed = ["security.TokenStore{closed}", "the token store is closed", "Invalid"]
    assert ask("closed", "app:tokens") == [True, *closed]


def test_each_use_of_a_token_store_needs_a_permission(ask: Ask) -> None:
    assert ask("open", "app:tokens", scope=[]) == [
        "PermissionDenied", "not allowed to security.token_store.get: app:tokens"
    ]  # fmt: skip
    for verb in ("create", "validate", "revoke"):
        found = ask(verb, "app:tokens", "x" if verb != "create" else None, scope=["app:openers"])
        assert found == ["PermissionDenied", f"not allowed to security.token.{verb}: app:tokens"]


def test_arguments_of_other_types_raise(ask: Ask) -> None:
    texts = ask("wrong")
    assert [text.partition("(")[2] for text in texts] == [
        "actor expected, got string)", "scope expected, got table)", "string expected, got number)"
    ]  # fmt: skip


def test_a_token_is_worth_nothing_in_another_token_store(ask: Ask) -> None:
    """Even where both keep theirs in the same store: what mails a link for a new password must open no session."""
    token = ask("create", "app:plain_tokens")
    assert ask("validate", "app:more_tokens", token) == NOT_VALID
    assert ask("revoke", "app:more_tokens", token) is False
    assert ask("validate", "app:plain_tokens", token) == AS_ANN

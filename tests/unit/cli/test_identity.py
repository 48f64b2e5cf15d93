"""The options that say in whose name something is started."""

from __future__ import annotations

from typing import Any, cast

import pytest

from orchestration.cli.exits import CliError
from orchestration.cli.identity import read_identity
from orchestration.client import Actor


def test_an_actor_is_an_id_or_json() -> None:
    application = cast("Any", None)
    assert read_identity(application, actor=None, scope=()) == {"actor": None, "scope": None}
    assert read_identity(application, actor="ann", scope=())["actor"] == Actor("ann")
    found = read_identity(application, actor='{"id": "ann", "meta": {"role": "x"}}', scope=())
    assert found["actor"] == Actor("ann", {"role": "x"})


@pytest.mark.parametrize(
    "text", ["", "{", '{"name": "ann"}', '{"id": 5}', '{"id": "a", "more": 1}', '{"id": "a", "meta": 5}']
)
def test_what_is_no_actor_is_refused(text: str) -> None:
    with pytest.raises(CliError, match="--actor"):
        read_identity(cast("Any", None), actor=text, scope=())

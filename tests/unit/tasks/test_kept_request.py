"""What is kept of a Celery task until its run ends comes back as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID

import msgpack
import pytest
from celery import signature

from orchestration.errors import DecodeError, EncodeError
from orchestration.tasks.kept_request import kept_request, pack_request, unpack_request

VALUES = [
    Decimal("10.50"),
    datetime(2026, 1, 1, tzinfo=UTC),
    UUID(int=5),
    2**70,
    -(2**70),
    b"\xff",
    None,
    1.0,
    {3: "x"},
]


@pytest.mark.parametrize("part", ["callbacks", "errbacks", "chain"])
def test_values_of_following_tasks_keep_their_types(part):
    after = signature("shop.charge", VALUES, {"amount": Decimal("0.1")})
    (found,) = unpack_request(pack_request({part: [after]}))[part]
    assert found["args"] == VALUES
    assert [type(value) for value in found["args"]] == [type(value) for value in VALUES]
    assert found["kwargs"] == {"amount": Decimal("0.1")}


def test_the_body_of_a_chord_keeps_them_too():
    found = unpack_request(pack_request({"chord": signature("shop.charge", (Decimal("1.10"),))}))
    assert found["chord"]["args"] == [Decimal("1.10")]


def test_ids_and_times_of_the_task_itself_are_words():
    request = {"id": "t", "root_id": UUID(int=7), "expires": datetime(2026, 1, 1, tzinfo=UTC), "retries": 2}
    kept = kept_request(request, SimpleNamespace())
    assert unpack_request(pack_request(kept)) == {
        "root_id": str(UUID(int=7)), "expires": "2026-01-01 00:00:00+00:00", "retries": 2,
    }  # fmt: skip


def test_what_cannot_be_kept_is_told_with_its_type():
    with pytest.raises(EncodeError, match=r"a task after the workflow .* of type types\.SimpleNamespace"):
        pack_request({"chain": [signature("shop.charge", (SimpleNamespace(),))]})


def test_what_earlier_releases_have_kept_is_read():
    assert unpack_request(msgpack.packb({"chain": [{"args": ["10.50"]}]})) == {"chain": [{"args": ["10.50"]}]}


def test_what_a_newer_release_has_kept_is_refused():
    with pytest.raises(DecodeError, match="of type 9"):
        unpack_request(msgpack.packb({"chain": [msgpack.ExtType(9, b"")]}))

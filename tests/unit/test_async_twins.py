"""Whatever can be asked of a client can be awaited of its twin, with the same arguments; each says what it takes."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from orchestration.client import (
    AsyncClient,
    AsyncProcessHandle,
    AsyncSubscription,
    AsyncWorkflowHandle,
    Client,
    ProcessHandle,
    Subscription,
    WorkflowHandle,
)
from orchestration.client.aio_schedules import AsyncScheduleHandle
from orchestration.client.schedules import ScheduleHandle

PAIRS = [
    (Client, AsyncClient),
    (WorkflowHandle, AsyncWorkflowHandle),
    (ScheduleHandle, AsyncScheduleHandle),
    (ProcessHandle, AsyncProcessHandle),
    (Subscription, AsyncSubscription),
]
METHODS = [
    (one, other, name)
    for one, other in PAIRS
    for name, member in inspect.getmembers(one)
    if not name.startswith("_") and (callable(member) or isinstance(member, property))
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_no_twin_has_more(one: type, other: type) -> None:
    def names(of: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(of) if not name.startswith("_")}

    assert names(one) == names(other)


@pytest.mark.parametrize(("one", "other", "name"), METHODS)
def test_a_method_and_its_async_twin_have_the_same_signature(one: type, other: type, name: str) -> None:
    sync, twin = inspect.getattr_static(one, name), inspect.getattr_static(other, name)
    if isinstance(sync, property):  # what has to look into the store is a method there
        assert isinstance(twin, property) or not list(inspect.signature(twin).parameters)[1:]
        return

    def shape(function: Any) -> list[tuple[str, Any, Any, str]]:
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.kind, p.default, str(p.annotation)) for p in parameters]

    assert shape(sync) == shape(twin)
    returned = str(inspect.signature(sync).return_annotation)
    named = re.sub(r"\b((Workflow|Schedule|Process)Handle|Subscription|Iterator)", r"Async\1", returned)
    assert str(inspect.signature(twin).return_annotation) == named


@pytest.mark.parametrize(("one", "name"), [(one, name) for one, _, name in METHODS])
def test_every_argument_is_described(one: type, name: str) -> None:
    member = inspect.getattr_static(one, name)
    if isinstance(member, property):
        assert member.__doc__
        return
    text = inspect.getdoc(member) or ""
    taken = [parameter for parameter in inspect.signature(member).parameters if parameter != "self"]
    missing = [parameter for parameter in taken if not re.search(rf"^    (\*\*)?{parameter}: \S", text, re.MULTILINE)]
    assert not missing, f"{one.__name__}.{name} does not describe {', '.join(missing)}"
    if inspect.signature(member).return_annotation not in ("None", "Any") and taken:
        assert "Returns:" in text or text.startswith(("Handle of", "Every run", "A page")), f"{one.__name__}.{name}"

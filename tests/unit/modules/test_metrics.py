"""The module ``metrics``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import prometheus_client
import pytest

from orchestration.modules import metrics as module
from orchestration.registry import Registry, load_registry
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project

project = Project()
project.function(
    "call",
    """
    local metrics = require("metrics")
    return function(name, ...)
        local raised, value, err = pcall(metrics[name], ...)
        if not raised then return { raised = value } end
        return { value = value, kind = err and err:kind(), message = err and err:message() }
    end
    """,
    modules=("metrics",),
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@pytest.fixture
def env(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkflowEnvironment]:
    collectors = prometheus_client.REGISTRY
    before = set(collectors._collector_to_names)
    monkeypatch.setattr(module, "_metrics", {})
    with WorkflowEnvironment(registry=registry) as env:
        yield env
    for collector in set(collectors._collector_to_names) - before:
        collectors.unregister(collector)


def call(env: WorkflowEnvironment, name: str, *args: Any) -> Any:
    return env.client.call("app:call", name, *args, timeout=10)


def sample(name: str, **labels: str) -> float | None:
    return prometheus_client.REGISTRY.get_sample_value(name, labels)


def test_counters_count(env: WorkflowEnvironment) -> None:
    assert call(env, "counter_inc", "orders") == {"value": True}
    assert call(env, "counter_add", "orders", 2.5) == {"value": True}
    assert sample("orders_total") == 3.5
    call(env, "counter_inc", "paid_total", {"how": "card"})
    assert sample("paid_total", how="card") == 1


def test_gauges_are_set_and_moved(env: WorkflowEnvironment) -> None:
    call(env, "gauge_set", "depth", 5, {"queue": "a"})
    call(env, "gauge_inc", "depth", {"queue": "a"})
    call(env, "gauge_dec", "depth", {"queue": "b"})
    assert sample("depth", queue="a") == 6
    assert sample("depth", queue="b") == -1


def test_histograms_observe(env: WorkflowEnvironment) -> None:
    call(env, "histogram", "took", 0.2)
    call(env, "histogram", "took", 3)
    assert sample("took_count") == 2
    assert sample("took_sum") == 3.2


def test_a_label_whose_value_is_no_string_is_left_out(env: WorkflowEnvironment) -> None:
    assert call(env, "counter_inc", "mixed", {"a": "x", "b": 5, "c": True}) == {"value": True}
    assert sample("mixed_total", a="x") == 1


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("counter_inc", ("no name",)),
        ("counter_inc", ("",)),
        ("counter_inc", ("x", {"no label": "a"})),
        ("counter_inc", ("x", {"__own": "a"})),
        ("counter_add", ("x", -1)),
        ("gauge_set", ("x", float("inf"))),
        ("gauge_set", ("x", float("nan"))),
        ("histogram", ("x", 1, {"le": "a"})),
    ],
)
def test_wrong_metrics_are_invalid(env: WorkflowEnvironment, name: str, args: Any) -> None:
    assert call(env, name, *args)["kind"] == "Invalid"


def test_arguments_of_a_wrong_type_raise(env: WorkflowEnvironment) -> None:
    assert "bad argument #1 to 'counter_inc'" in call(env, "counter_inc", 5)["raised"]
    assert "bad argument #2 to 'gauge_set'" in call(env, "gauge_set", "x", "much")["raised"]
    assert "bad argument #3 to 'histogram'" in call(env, "histogram", "x", 1, 2)["raised"]


def test_a_metric_keeps_its_kind_and_its_labels(env: WorkflowEnvironment) -> None:
    call(env, "counter_inc", "fixed", {"a": "1"})
    assert call(env, "gauge_set", "fixed", 1, {"a": "1"})["kind"] == "Invalid"
    assert call(env, "counter_inc", "fixed")["kind"] == "Invalid"
    assert call(env, "counter_inc", "fixed", {"b": "1"})["kind"] == "Invalid"
    assert call(env, "counter_inc", "python_info")["kind"] == "Invalid", "there already, and not ours"


def test_series_are_bounded(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_SERIES", 2)
    for number in range(2):
        assert call(env, "counter_inc", "wide", {"id": str(number)}) == {"value": True}
    assert call(env, "counter_inc", "wide", {"id": "2"})["kind"] == "RateLimited"
    assert call(env, "counter_inc", "wide", {"id": "1"}) == {"value": True}


def test_without_a_collector_every_verb_is_an_internal_error(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    found = call(env, "counter_inc", "nobody")
    assert found["kind"] == "Internal"
    assert "celery-orchestration[metrics]" in found["message"]


def test_values_of_labels_are_short(env: WorkflowEnvironment) -> None:
    """Each is kept as long as the OS process lives."""
    assert call(env, "counter_inc", "labelled_total", {"a": "x" * 1_000})["value"] is True
    found = call(env, "counter_inc", "labelled_total", {"a": "x" * 1_001})
    assert (found["kind"], found["message"]) == ("Invalid", "the label a has a value of 1001 characters: 1000 at most")

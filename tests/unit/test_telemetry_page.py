"""``docs/reference/telemetry.md`` says what the code does.

``python -m tests.unit.test_telemetry_page`` rewrites its tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration import signals
from orchestration.logs import FIELDS
from orchestration.telemetry.events import TASK_EVENTS, WORKFLOW_EVENTS
from orchestration.telemetry.metrics import METRICS, Metric
from orchestration.telemetry.store_metrics import STORE_METRICS

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/telemetry.md"


def _metrics(metrics: tuple[Metric, ...]) -> Iterator[str]:
    yield "| name | type | unit | labels | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.meaning} |"


def _events() -> Iterator[str]:
    yield "| event | beside it | meaning |"
    yield "| --- | --- | --- |"
    for name, meaning in WORKFLOW_EVENTS.items():
        beside = f"`{TASK_EVENTS[name]}`" if name in TASK_EVENTS else ""
        yield f"| `{name}` | {beside} | {meaning} |"


def _fields() -> Iterator[str]:
    yield "| attribute | what it says |"
    yield "| --- | --- |"
    for name, meaning in FIELDS.items():
        yield f"| `{name}` | {meaning} |"


TABLES = {
    "metrics of workers": lambda: _metrics(METRICS),
    "metrics of the store": lambda: _metrics(STORE_METRICS),
    "events": _events,
    "log fields": _fields,
}


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n)(.*?)(<!-- end -->)", re.DOTALL)


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_those_of_the_code(name: str) -> None:
    found = _pattern(name).search(PAGE.read_text("utf-8"))
    assert found is not None
    assert found[2] == "".join(f"{line}\n" for line in TABLES[name]())


def test_every_signal_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    for name in signals.__all__:
        assert f"`{name}`" in page


def test_every_span_and_attribute_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    folder = Path(signals.__file__).parent / "telemetry"
    for path in folder.glob("*.py"):
        for name in re.findall(r'"((?:orchestration|messaging)\.[a-z_.]+)"', path.read_text("utf-8")):
            assert f"`{name}`" in page, name


def write() -> None:
    """Write the tables into the page."""
    text = PAGE.read_text("utf-8")
    for name, rows in TABLES.items():
        table = "".join(f"{line}\n" for line in rows())
        text = _pattern(name).sub(lambda found, table=table: found[1] + table + found[3], text)  # type: ignore[misc]
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    write()

"""What a workflow keeps from run to run: its retry policy, its schedule, its times; and what may be said of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.core.cron import next_cron_time
from orchestration.core.prefix import own_meta
from orchestration.core.retry import retry_delay_ms
from orchestration.store.results import RunRecord

__all__ = ["ChainFacts", "ChainOptions", "facts_of", "first_delay_ms", "next_start_ms"]


class ChainOptions:
    """The options of a workflow that decide what follows when one of its runs ends.

    Args:
        text: As the run's record has them; empty: none.
    """

    def __init__(self, text: str = "") -> None:
        self._options: dict[str, Any] = json.loads(text) if text else {}

    @staticmethod
    def encode(*, retry: Mapping[str, Any] | None, cron: str, run_timeout_ms: int, cancel_grace_ms: int) -> str:
        """Write them for a record; empty when there are none."""
        options: dict[str, Any] = {}
        if retry is not None:
            options["retry"] = dict(retry)
        if cron:
            options["cron"] = cron
        if run_timeout_ms:
            options["run"] = run_timeout_ms
        if cancel_grace_ms:
            options["grace"] = cancel_grace_ms
        return json.dumps(options, separators=(",", ":")) if options else ""

    @property
    def retry(self) -> Mapping[str, Any] | None:
        """The retry policy; None: a failed run is not followed by another."""
        return self._options.get("retry")

    @property
    def cron(self) -> str:
        """The schedule; empty: none."""
        return str(self._options.get("cron", ""))

    @property
    def run_timeout_ms(self) -> int:
        """After which a run is ended; 0 for never."""
        return int(self._options.get("run", 0))

    @property
    def cancel_grace_ms(self) -> int:
        """Time that a run is given to clean up before a timeout ends it; 0 for none."""
        return int(self._options.get("grace", 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFacts:
    """What of a run decides about the one after it.

    Attributes:
        namespace: Of the run.
        workflow_id: Its name.
        entry_id: Of its code.
        digest: Of its code.
        queue: Its task queue; empty for Celery's default.
        meta: The map of its start, see :func:`orchestration.core.prefix.own_meta`.
        options: What the workflow keeps from run to run.
        deadline_ms: Of the workflow as a whole; 0 for none.
        trace: What it is below in its trace, see :mod:`orchestration.telemetry.run_trace`; empty: unknown.
    """

    namespace: str
    workflow_id: str
    entry_id: str
    digest: str
    queue: str
    meta: Mapping[str, Any]
    options: ChainOptions
    deadline_ms: int
    trace: str = ""


def facts_of(namespace: str, record: RunRecord, meta: Mapping[str, Any]) -> ChainFacts:
    """Facts of a run as its record and its start say."""
    fields = record.fields
    return ChainFacts(
        namespace=namespace, workflow_id=fields["id"], entry_id=fields["type"], digest=fields["bundle"],
        queue=fields.get("queue", ""), meta=own_meta(meta), options=ChainOptions(fields.get("opts", "")),
        deadline_ms=record.number("deadline"), trace=fields.get("trace", ""),
    )  # fmt: skip


def next_start_ms(
    options: ChainOptions, failure: Mapping[str, Any] | None, *, attempt: int, now_ms: int, deadline_ms: int
) -> tuple[int, int] | None:
    """When the next run of a workflow begins after one has ended.

    Args:
        options: Of the workflow.
        failure: What the run ended with; None: a result.
        attempt: Number of the run, counted from 1 since the last that was no retry.
        now_ms: Time of the end.
        deadline_ms: Of the workflow as a whole; 0 for none.

    Returns:
        Milliseconds until it begins, and its attempt; None when none follows.
    """
    if failure is not None and failure.get("kind") == "Canceled":
        return None  # somebody wanted it to end
    found: tuple[int, int] | None = None
    if failure is not None and options.retry is not None:
        delay = retry_delay_ms({"retry": options.retry}, attempt=attempt, failure=failure, elapsed_ms=0)
        if delay is not None:
            found = (max(delay, 1), attempt + 1)
    if found is None and options.cron:
        found = (first_delay_ms(options.cron, now_ms), 1)
    if found is not None and deadline_ms and now_ms + found[0] >= deadline_ms:
        return None
    return found


def first_delay_ms(cron: str, now_ms: int) -> int:
    """Milliseconds from a time to the next one of a schedule.

    Args:
        cron: Five fields, or a word such as ``@daily``; before them may stand ``CRON_TZ=Europe/Madrid``.
        now_ms: The time.

    Raises:
        ValueError: It is no schedule, or never comes.
    """
    due = next_cron_time(cron, "UTC", now_ms)
    if due is None:
        raise ValueError(f"the cron schedule {cron!r} never comes")
    return max(due - now_ms, 1)

"""What every combination of brokers, pools and releases has to do: the shop's tasks, called by workflows at once."""

from __future__ import annotations

from typing import Any

from orchestration.client import WorkflowHandle
from tests.interop.project import bodies
from tests.support import wait_until
from tests.support.projects import Deployment

__all__ = ["ONCE", "check_outcomes", "check_retries_and_routing", "kinds_of", "start"]

ONCE = {"activity.retry_policy": {"maximum_attempts": 1}}


def start(running: Deployment, target: str, *args: Any, **options: Any) -> WorkflowHandle:
    """A workflow that calls the target."""
    given = {**ONCE, **{f"activity.{name}": value for name, value in options.items()}}
    return running.client.start_workflow("shop:call", target, given, *args)


def kinds_of(handles: dict[str, WorkflowHandle], *, timeout: float = 60) -> dict[str, Any]:
    """What became of each: its result, or kind of error and what tells more."""
    found: dict[str, Any] = {}
    for name, handle in handles.items():
        seen = handle.result(timeout=timeout)
        more = seen.get("details") or {}
        found[name] = seen.get("result", (seen.get("kind"), more.get("exception") or more.get("timeout_type")))
    return found


def check_retries_and_routing(running: Deployment) -> None:
    """What needs no other process than the one that runs the task: right with every pool."""
    handles = {
        "price": start(running, "price", "apple", 2), "reserve": start(running, "reserve", "reserve", "pears"),
        "ship": start(running, "ship", "ship", 2), "busy": start(running, "ship", "busy", 9),
        "pack": start(running, "pack", "pack", 2), "mail": start(running, "send_mail", "ana"),
        "invoice": start(running, "invoice", ["apple", "pear"]), "odd": start(running, "odd"),
        "ignores": start(running, "ignores", "ignores", start_to_close_timeout="2s"),
        "unheard_of": start(running, "unheard_of"), "quiet": start(running, "quiet", "quiet"),
    }  # fmt: skip
    assert kinds_of(handles) == {
        "price": {"sku": "apple", "cents": 500}, "reserve": ("Internal", "OutOfStock"), "ship": {"shipped": True},
        "busy": ("Internal", "Busy"), "pack": {"retries": 2}, "mail": "sent to ana", "invoice": 500,
        "odd": ("Invalid", "EncodeError"), "ignores": ("Timeout", "start_to_close"),
        "unheard_of": ("NotFound", "NotRegistered"), "quiet": "quiet",
    }  # fmt: skip
    assert {key: bodies(running, key) for key in ("reserve", "ship", "busy", "pack", "ignores", "quiet")} == {
        "reserve": 1, "ship": 3, "busy": 4, "pack": 3, "ignores": 1, "quiet": 1,
    }  # fmt: skip


def check_outcomes(running: Deployment, *, old: bool = False) -> None:
    """The outcomes that a pool of processes adds: limits, rejections, deaths.

    Args:
        running: With a worker of the shop whose pool is prefork.
        old: It is of a release before Celery 5.7, where Reject leaves nothing.
    """
    check_retries_and_routing(running)
    handles = {
        "soft": start(running, "soft", "soft"), "soft_caught": start(running, "soft_caught", "caught"),
        "hard": start(running, "hard", "hard"), "dies": start(running, "dies", "dies"),
        "rejects": start(running, "rejects", "rejects", start_to_close_timeout="2s"),
    }  # fmt: skip
    assert kinds_of(handles) == {
        "soft": ("Internal", "SoftTimeLimitExceeded"), "soft_caught": "cleaned up",
        "hard": ("Timeout", "TimeLimitExceeded"), "dies": ("Unavailable", "WorkerLostError"),
        "rejects": ("Timeout", "start_to_close") if old else ("Unavailable", "Reject"),
    }  # fmt: skip
    assert bodies(running, "rejects") == 1
    wait_until(lambda: bodies(running, "beat") > 0, message="beat goes on as it did")

"""What the extension in a worker says of itself: part of ``celery inspect stats``, read by ``orchestration doctor``."""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

import celery

from orchestration.celery_redis import is_cut_in_its_secret

if TYPE_CHECKING:
    from orchestration.tasks.app import Orchestration

__all__ = ["REPORT", "location", "self_report", "visibility_timeout_s"]

REPORT: Final = "orchestration"
"""Its name among the statistics of a worker."""


def self_report(orchestration: Orchestration) -> dict[str, Any]:
    """Facts that others compare with their own; nothing in it is secret, and nothing is asked of Redis for it."""
    settings = orchestration.settings
    return {
        "release": release(),
        "celery": celery.__version__,
        "time_ms": int(time.time() * 1000),
        "namespaces": list(orchestration.runtime.namespaces),
        "definitions": orchestration.registry.digest,
        "key_prefix": settings.key_prefix,
        "shards": settings.shards,
        "redis": location(settings.redis_url),
        "offload": location(settings.offload),
        "visibility_timeout_s": visibility_timeout_s(orchestration.app.conf),
    }


def release() -> str:
    """Version of this package."""
    try:
        return version("celery-orchestration")
    except PackageNotFoundError:
        return "unknown"


def location(url: str) -> str:
    """A URL without user, password and options; without anything where it is not clear what is the password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    shown = rest.partition("#")[0].partition("?")[0].rpartition("@")[2]
    return f"{scheme}://{'(not shown)' if is_cut_in_its_secret(url) else shown}"


def visibility_timeout_s(conf: Any) -> float:
    """Seconds after which Redis as a broker gives a message to another consumer."""
    options: dict[str, Any] = conf.get("broker_transport_options") or {}
    return float(options.get("visibility_timeout", 3600))

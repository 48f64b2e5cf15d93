"""Fixtures that every folder may use."""

from __future__ import annotations

import signal

from tests.support.fixtures import client, redis_client, redis_server, redis_url, running, second_redis, urls, worker

__all__ = ["client", "redis_client", "redis_server", "redis_url", "running", "second_redis", "urls", "worker"]

# A shell starts background jobs with Ctrl-C ignored, and children inherit that: commands under test could not be ended.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

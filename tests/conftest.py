"""Fixtures that every folder may use."""

from __future__ import annotations

from tests.support.fixtures import client, redis_client, redis_server, redis_url, running, second_redis, urls, worker

__all__ = ["client", "redis_client", "redis_server", "redis_url", "running", "second_redis", "urls", "worker"]

"""Fixtures that every folder may use."""

from __future__ import annotations

from tests.support.fixtures import redis_client, redis_server, redis_url, second_redis, worker

__all__ = ["redis_client", "redis_server", "redis_url", "second_redis", "worker"]

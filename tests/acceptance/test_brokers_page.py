"""Settings of Redis on the page docs/how-to/brokers.md, on a real one: a user, and writes that need a replica."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
import redis

from orchestration.embedded import EmbeddedRedis
from tests.support.pages import Page
from tests.support.projects import Project, deployed

PAGE = Page("docs/how-to/brokers.md")
REPLICAS, USER = PAGE.block("min-replicas-to-write"), PAGE.block("user shop on")
project = Project("app")
echo = project.workflow("echo", "return function(value) return value end")


def test_the_user_of_the_page_is_enough(second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    word, *rules = USER.split()
    assert word == "user"
    with contextlib.closing(redis.Redis.from_url(second_redis.url)) as admin:
        admin.execute_command("ACL", "SETUSER", *rules)
        url = re.sub("//.*@", "//shop:password@", second_redis.url)
        options = {"global_keyprefix": "shop."}
        celery = {"broker_transport_options": options, "result_backend_transport_options": options}
        with deployed(project, tmp_path, url, celery=celery) as deployment:
            deployment.worker()
            assert deployment.app.send_task(echo, args=["a"]).get(timeout=30) == "a"
        refused = {entry["object"] for entry in admin.acl_log()}
        assert refused <= {"client", "client|setinfo"}, "the client of Redis says its release, and can do without"


def test_a_master_that_is_cut_off_takes_no_writes(second_redis: EmbeddedRedis) -> None:
    with contextlib.closing(redis.Redis.from_url(second_redis.url)) as admin:
        for line in REPLICAS.splitlines():
            admin.config_set(*line.split())
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            admin.set("a", 1)

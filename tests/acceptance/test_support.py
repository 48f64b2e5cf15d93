"""The helpers that other acceptance tests lean on do what they say, with a real Redis and plain Celery."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis
from celery import Celery

from orchestration.embedded import SERVER_VARIABLE, EmbeddedRedis, find_server, ping
from orchestration.errors import ConfigError
from tests.support import WorkerProcess, wait_until

PLAIN_APP = """
import os
from celery import Celery
app = Celery("plain", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
@app.task(name="plain.add")
def add(x, y):
    return x + y
"""


def test_server_keeps_its_data_and_address_over_a_crash() -> None:
    """What a test of 'Redis away in the middle' needs."""
    with EmbeddedRedis(appendfsync="always") as server:
        url = server.url
        redis.Redis.from_url(url).set("key", "value")
        server.kill()
        assert not server.is_running
        assert ping(server.host, server.port) == ""
        server.start()
        assert server.url == url
        assert redis.Redis.from_url(url).get("key") == b"value"
        folder = server.log_path
    assert folder is not None
    assert not folder.exists()


def test_server_asks_for_a_password_and_evicts_nothing(redis_server: EmbeddedRedis) -> None:
    assert ping(redis_server.host, redis_server.port).startswith("-NOAUTH")
    client = redis.Redis.from_url(redis_server.url)
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_server_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    """Nothing may be left running behind a demonstration that was killed."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the death signal is Linux's")
    code = (
        "import sys, threading; from orchestration.embedded import EmbeddedRedis; server = EmbeddedRedis(sys.argv[1])\n"
        "thread = threading.Thread(target=server.start); thread.start(); thread.join()\n"
        "print(server.pid, flush=True); sys.stdin.read()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    server = psutil.Process(pid)
    assert server.is_running()
    starter.kill()
    starter.communicate()
    wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, message="server gone")


def test_missing_server_names_the_cures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(SERVER_VARIABLE)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"celery-orchestration\[embedded\].*REDIS_URL"):
        find_server()
    monkeypatch.setenv(SERVER_VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="no executable file"):
        find_server()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_worker_is_ready_killed_and_gone(
    pool: str, worker: Callable[..., WorkerProcess], redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "plain_app.py").write_text(PLAIN_APP)
    process = worker(app="plain_app", cwd=tmp_path, pool=pool, concurrency=2)
    with Celery("client", broker=redis_url, backend=redis_url) as client:
        assert client.send_task("plain.add", args=[1, 2]).get(timeout=10) == 3
    children = process.children()
    assert len(children) == (2 if pool == "prefork" else 0)
    process.kill()
    assert not process.is_running
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in children), message="children gone")


def test_worker_that_cannot_start_says_why(worker: Callable[..., WorkerProcess], tmp_path: Path) -> None:
    (tmp_path / "broken_app.py").write_text("raise RuntimeError('this one is broken')")
    with pytest.raises(AssertionError, match="this one is broken"):
        worker(app="broken_app", cwd=tmp_path)


def test_wait_until_gives_up_at_its_deadline() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.05 s: the moon"):
        wait_until(lambda: False, deadline_s=0.05, message="the moon")
    assert wait_until(os.getpid) == os.getpid()

"""Where the store and a Redis broker may be: behind Sentinels, over TLS, on a socket, with a user and a key prefix of
their own, in other databases and on other servers than each other.
"""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from orchestration.client import WorkflowHandle
from orchestration.embedded import EmbeddedRedis
from tests.support import wait_until
from tests.support.certificates import make_certificates
from tests.support.errands import errands, lateness_ms, run_errands
from tests.support.projects import Deployment, deployed
from tests.support.redis_servers import RedisProcess, Sentinels, free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
Deploy = Callable[..., Deployment]

USER = (
    "user app on >secret ~orc:* ~celery* ~_kombu.* ~unacked* ~app.* ~*reply.celery.pidbox &* "
    "-@all +@read +@write +@connection +@transaction +@scripting +@pubsub +@blocking +time +info -@dangerous +info "
    "+client|setname"
)


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Deploy]:
    """Deploy the errands with one worker; arguments are those of :func:`deployed` after the folder."""
    with contextlib.ExitStack() as stack:

        def start(redis_url: str, **options: Any) -> Deployment:
            project = errands(env={"ORCHESTRATION_DEAD_AFTER_MS": "3s"})
            deployment = stack.enter_context(deployed(project, tmp_path, redis_url, **options))
            deployment.worker()
            return deployment

        yield start


def is_atomic(deployment: Deployment) -> bool:
    return deployment.orchestration.runtime.messages.atomic


def is_in_step(handle: WorkflowHandle) -> bool:
    return any(call.state == "claimed" for call in handle.describe().pending)


def test_tls_with_a_private_authority(deploy: Deploy, tmp_path: Path) -> None:
    """One URL for broker, results and store, as Celery wants it."""
    ca, certificate, key = make_certificates(tmp_path)
    port = free_ports(1)[0]
    lines = [f"tls-port {port}", f"tls-cert-file {certificate}", f"tls-key-file {key}", f"tls-ca-cert-file {ca}"]
    with RedisProcess(0, [*lines, "tls-auth-clients no"]):
        deployment = deploy(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={ca}")
        run_errands(deployment.client)
        assert is_atomic(deployment)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    """Certificates are checked unless the URL says otherwise."""
    from orchestration.errors import StoreUnavailableError
    from orchestration.store.opening import open_connection

    ca, certificate, key = make_certificates(tmp_path)
    port = free_ports(1)[0]
    lines = [f"tls-port {port}", f"tls-cert-file {certificate}", f"tls-key-file {key}", f"tls-ca-cert-file {ca}"]
    with RedisProcess(0, [*lines, "tls-auth-clients no"]):
        with contextlib.closing(open_connection(f"rediss://127.0.0.1:{port}/0", patience_s=0.2)) as connection:
            with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
                connection.call("TIME")


def test_a_socket(deploy: Deploy) -> None:
    with tempfile.TemporaryDirectory(prefix="orc-") as folder:  # the path of a socket has to be short
        path = f"{folder}/redis.sock"
        with RedisProcess(0, [f"unixsocket {path}"]):
            deployment = deploy(f"redis+socket://{path}", store_url=f"unix://{path}?db=0")
            run_errands(deployment.client)
            assert is_atomic(deployment)


def test_a_key_prefix_of_the_broker(deploy: Deploy, redis_url: str, redis_client: redis.Redis) -> None:
    """The messages that scripts of the store give out get it too."""
    prefix = {"global_keyprefix": "app."}
    deployment = deploy(
        redis_url, celery={"broker_transport_options": prefix, "result_backend_transport_options": prefix}
    )
    run_errands(deployment.client)
    assert is_atomic(deployment)
    keys: list[bytes] = list(redis_client.scan_iter())
    assert keys
    assert {key.partition(b":")[0] for key in keys if not key.startswith(b"app.")} == {b"orc"}


def test_a_user_who_may_use_few_commands_and_keys(deploy: Deploy) -> None:
    """The user of docs/how-to/brokers.md."""
    with RedisProcess(port := free_ports(1)[0], [USER]):
        prefix = {"global_keyprefix": "app."}
        deployment = deploy(
            f"redis://app:secret@127.0.0.1:{port}/0",
            celery={"broker_transport_options": prefix, "result_backend_transport_options": prefix},
        )
        run_errands(deployment.client)
        assert is_atomic(deployment)


def test_other_databases_of_one_server(deploy: Deploy, urls: list[str]) -> None:
    deployment = deploy(urls[0], broker_url=urls[1], store_url=urls[2])
    run_errands(deployment.client)
    assert is_atomic(deployment)


def test_other_servers(deploy: Deploy, redis_url: str, second_redis: EmbeddedRedis) -> None:
    deployment = deploy(redis_url, store_url=second_redis.url)
    run_errands(deployment.client)
    assert not is_atomic(deployment)


@pytest.mark.parametrize("broker", ["elsewhere", "there too"])
def test_sentinels_put_another_master_in_the_place_of_a_dead_one(
    deploy: Deploy, redis_url: str, broker: str
) -> None:
    with Sentinels() as redises:
        store = f"sentinel://{redises.hosts}/0?master_name={redises.name}"
        if broker == "elsewhere":
            deployment = deploy(redis_url, store_url=store)
        else:
            url = ";".join(f"sentinel://{host}" for host in redises.hosts.split(",")) + "/0"
            named = {"master_name": redises.name}
            options = {"broker_transport_options": named, "result_backend_transport_options": named}
            deployment = deploy(url, celery=options)
            assert deployment.orchestration.settings.redis_url == f"{url}?master_name={redises.name}"
        assert is_atomic(deployment) == (broker == "there too")
        run_errands(deployment.client)
        naps = [deployment.client.start_workflow("app:nap", ms) for ms in (500, 3000, 11_000)]
        steps = [deployment.client.start_workflow("app:long_step", uuid.uuid4().hex, 2) for _ in range(2)]
        wait_until(lambda: all(map(is_in_step, steps)), deadline_s=30, every_s=0.05, message="at work")
        before = redises.master
        assert before.ask("WAIT", 1, 5000) == 1, "what the replica does not have, nobody can find there"
        before.kill()
        for step in steps:
            assert step.result(timeout=60) == ["slept", 42]
        for nap, ms in zip(naps, (500, 3000, 11_000), strict=True):
            assert nap.result(timeout=60) == ms
            assert lateness_ms(nap, ms) >= 0
        assert redises.master is not before
        run_errands(deployment.client)
        before.start()  # it comes back as a replica of the new one
        run_errands(deployment.client)

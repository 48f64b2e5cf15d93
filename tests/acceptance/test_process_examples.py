"""The processes of ``config/``, as a user runs them: real Redis, a real worker, the public client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

from orchestration import Client, Orchestration
from orchestration.embedded import EmbeddedRedis
from orchestration.errors import ProcessNotFoundError
from tests.support import wait_until
from tests.support.fixtures import empty_database
from tests.support.workers import ROOT, start_worker

HOST = "app:processes"


@pytest.fixture(scope="module")
def shop(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client beside a worker with the threads pool that serves ``config/``."""
    url, folder = empty_database(redis_server), tmp_path_factory.mktemp("shop")
    env = {"ORCHESTRATION_EXAMPLES_LEDGER": str(folder / "ledger.sqlite")}
    with start_worker(redis_url=url, log_dir=folder, env=env, pool="threads", concurrency=4):
        with Celery("talker", broker=url, backend=url, set_as_current=False) as app:
            Orchestration(app, config=str(ROOT / "config"))
            client = Client(app)
            yield client
            client.close()


def test_a_session_is_found_by_its_user_keeps_its_state_and_is_upgraded_while_it_runs(shop: Client) -> None:
    ana = shop.call("app.sessions:open", "ana", timeout=20)
    assert shop.call("app.sessions:open", "ana", timeout=20) == ana, "one for each user"
    assert shop.lookup("session:ana") == ana
    with shop.subscribe(topic="value", timeout=20) as mine:
        mine.send("session:ana", "set", {"key": "cart", "value": ["chair"]})
        mine.send("session:ana", "get", "cart")
        assert next(mine).values == ({"key": "cart", "value": ["chair"], "version": 1},)
        mine.send(ana, "upgrade", "app.sessions:session_v2")
        mine.send(ana, "get", "cart")
        assert next(mine).values == ({"key": "cart", "value": ["chair"], "version": 2, "asked": 1},)
    session = shop.get_process(ana)
    session.cancel("log out")
    assert session.result(timeout=20) == {"user": "ana", "ended": "log out", "state": {"cart": ["chair"]}}


def test_a_session_that_nobody_talks_to_ends_and_frees_its_name(shop: Client) -> None:
    bob = shop.spawn("app.sessions:session", HOST, "bob", "300ms", name="session:bob")
    bob.send("set", {"key": "seen", "value": True})
    assert bob.result(timeout=20) == {"user": "bob", "ended": "idle", "state": {"seen": True}}
    with pytest.raises(ProcessNotFoundError):
        shop.lookup("session:bob")


def test_a_room_tells_everyone_what_anyone_says_and_who_comes_and_goes(shop: Client) -> None:
    room = shop.spawn("app.chat:room", HOST, "garden")
    wait_until(lambda: any("room:garden" in found.names for found in shop.list_processes(host=HOST)), deadline_s=20)
    with shop.subscribe(timeout=20) as ana:
        ana.send("room:garden", "join", "Ana")
        assert (next(ana).topic, "Ana") == ("joined", "Ana")
        members = [
            shop.spawn("app.chat:member", HOST, room.pid, f"m{n}", f"hello from {n}", 1) for n in range(20)
        ]  # fmt: skip
        for member in members:
            assert member.result(timeout=20)[0].startswith("m")
        heard = {"joined": 0, "said": 0, "left": 0}
        while min(heard.values()) < 20:
            heard[next(ana).topic] += 1
        assert heard == {"joined": 20, "said": 20, "left": 20}
        ana.send(room.pid, "who")
        assert next(ana).values == (["Ana"],)
        room.cancel("night")
        assert next(ana).topic == "closed"
    assert room.result(timeout=20) == 1


def test_a_job_says_how_far_it_is_and_can_be_cancelled(shop: Client) -> None:
    rows = [{"id": n} for n in range(20)] + ["no row"]
    with shop.subscribe(topic="progress", timeout=20) as progress:
        job = shop.spawn("app.jobs:import", HOST, rows, progress.pid)
        seen = [next(progress).values[0] for _ in rows]
        assert [one["done"] for one in seen] == list(range(1, 22))
        assert job.result(timeout=20) == {"done": 20, "failed": 1}

        slow = shop.spawn("app.jobs:import", HOST, [{"id": n, "takes": "100ms"} for n in range(500)], progress.pid)
        next(progress)
        slow.cancel("not needed")
        found = slow.result(timeout=20)
    assert found["canceled"] == "not needed"
    assert 0 < found["done"] < 500


def test_a_dispatcher_starts_workflows_a_few_at_a_time_and_tells_how_each_ended(shop: Client) -> None:
    with shop.subscribe(topic="ended", timeout=30) as mine:
        dispatcher = shop.spawn("app.dispatch:dispatcher", HOST, "app.workflows:order_processor", "app:worker", 2)
        cards = {"o-1": "good", "o-2": "declined", "o-3": "good", "o-4": "disputed"}
        for number, card in cards.items():
            mine.send(dispatcher.pid, "order", {"id": number, "amount": 100, "card": card, "delay": "200ms"})
        dispatcher.send("finish")
        ended = {found["id"]: found for found in (next(mine).values[0] for _ in cards)}
    assert dispatcher.result(timeout=30) == 3
    assert {number: found.get("status") for number, found in ended.items()} == {
        "o-1": "fulfilled", "o-2": None, "o-3": "fulfilled", "o-4": "refunded",
    }  # fmt: skip
    assert ended["o-2"]["error"] == "the card was declined"

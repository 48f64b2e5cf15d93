"""The examples of docs/how-to/processes-from-python.md run as they stand there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.embedded import EmbeddedRedis
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, Project, deployed
from tests.support.workers import ROOT

PAGE = ROOT / "docs" / "how-to" / "processes-from-python.md"
_FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILES = dict(_FILE.findall(PAGE.read_text("utf-8")))


@pytest.fixture(scope="module")
def page(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    assert set(FILES) == {"web.py", "sessions.py", "config/chat.yaml", "config/session.lua"}
    folder: Path = tmp_path_factory.mktemp("page")
    with deployed(Project(), folder, empty_database(redis_server)) as deployment:
        for name, text in FILES.items():
            (folder / name).write_text(text, "utf-8")
        deployment.worker(env={"PYTHONPATH": f"{folder}:{ROOT}"})
        yield deployment


class Socket:
    """A web socket as FastAPI gives it, with a browser behind it that says two things and goes."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self._heard = asyncio.Event()

    async def accept(self) -> None:
        self.sent.append("accepted")

    async def send_json(self, data: Any) -> None:
        self.sent.append(data)
        self._heard.set()

    async def iter_text(self) -> AsyncIterator[str]:
        for text in ("hello", "bye"):
            await self._heard.wait()
            self._heard.clear()
            yield text
        await self._heard.wait()


@pytest.mark.parametrize("entry", ["chat:session", "chat:py_session"])
def test_a_web_socket_talks_to_its_session(page: Deployment, entry: str) -> None:
    code = FILES["web.py"].replace("from celery_app import app\n", "").replace("chat:session", entry)
    web: dict[str, Any] = {"app": page.app}
    exec(compile(code, "web.py", "exec"), web)

    async def main() -> list[Any]:
        socket = Socket()
        await asyncio.wait_for(web["chat"](socket, "ann"), 30)
        assert await web["client"].list_processes(host="chat:host") == []
        return socket.sent

    assert asyncio.run(main()) == [
        "accepted",
        {"topic": "welcome", "data": "ann"},
        {"topic": "said", "data": {"user": "ann", "text": "hello", "number": 1}},
        {"topic": "said", "data": {"user": "ann", "text": "bye", "number": 2}},
    ]

"""The examples of docs/how-to/processes-from-python.md run as they stand there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.embedded import EmbeddedRedis
from tests.support.fixtures import empty_database
from tests.support.pages import Page
from tests.support.projects import Deployment, Project, deployed
from tests.support.workers import ROOT

PAGE = Page("docs/how-to/processes-from-python.md")
FILES, SPAWNS = PAGE.files(), PAGE.block("client.spawn")
KEEPS_STATE = Page("README.md").block("a session: state")


@pytest.fixture(scope="module")
def page(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    assert set(FILES) == {"web.py", "sessions.py", "config/chat.yaml", "config/session.lua"}
    folder: Path = tmp_path_factory.mktemp("page")
    project = Project("more")
    project.process("state", f"{KEEPS_STATE}return main", modules=["time"])
    entries = '[{name: import, kind: process.lua, source: "file://import.lua"}]'
    project.file("import.yaml", f'version: "1.0"\nnamespace: chat\nentries: {entries}\n')
    project.file("import.lua", "return function(file) return { file, (process.listen('priority'):receive()) } end")
    with deployed(project, folder, empty_database(redis_server)) as deployment:
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


def test_a_process_is_spawned_and_its_result_printed(page: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    exec(SPAWNS, {"app": page.app})
    assert capsys.readouterr().out == "['rows.csv', 'high']\n"


def test_a_session_keeps_its_state(page: Deployment) -> None:
    with page.client.subscribe() as mine:
        session = mine.spawn("more:state", "chat:host", "ann")
        mine.send(session.pid, "set", "hat")
        mine.send(session.pid, "get")
        assert next(iter(mine)).value == ["hat"]
        session.terminate()

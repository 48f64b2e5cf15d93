"""What the process.python entries of the tests run."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from orchestration.errors import ApplicationError
from orchestration.process import CANCEL, AsyncProcess, Event, Message, Process


async def session(process: AsyncProcess, user: str, idle_s: float = 30.0) -> Any:
    """Answers what it is sent; ends when nothing comes for some time."""
    seen = 0
    while True:
        try:
            message = await process.receive(timeout=timedelta(seconds=idle_s))
        except TimeoutError:
            return {"user": user, "seen": seen, "idle": True}
        if message.topic == "stop":
            return {"user": user, "seen": seen}
        if message.topic == "fail":
            raise ApplicationError("as asked", kind="Teapot", retryable=True)
        if message.topic == "raise":
            raise ValueError("no luck")
        if message.topic == "block":
            while not os.path.exists(message.value):  # noqa: ASYNC240 - the mistake of somebody
                time.sleep(0.01)  # noqa: ASYNC251
        seen += 1
        await process.send(message.sender, message.topic, user, process.context.get("tenant"), *message.values)


async def counter(process: AsyncProcess, start: int) -> AsyncIterator[None]:
    """An async generator: each yield is a message."""
    while True:
        message = yield
        if message.topic == "stop":
            return
        start += message.value
        await process.send(message.sender, "count", start)


class Ledger:
    """A class with ordinary methods."""

    def __init__(self, process: Process, owner: str) -> None:
        self.process = process
        self.owner = owner
        self.sum = 0

    def on_start(self) -> None:
        self.process.send(self.owner, "started", self.process.pid, self.process.entry_id)

    def on_message(self, message: Message) -> None:
        if message.topic == "add":
            self.sum += message.value
            self.process.send(message.sender, "sum", self.sum, threading.current_thread().name)
        elif message.topic == "stop":
            self.process.stop(self.sum)
        elif message.topic == "raise":
            raise ValueError("no luck")

    def on_end(self, error: BaseException | None) -> None:
        self.process.send(self.owner, "ended", error and str(error))


class Watchman:
    """A class with async methods, which monitors and links."""

    def __init__(self, process: AsyncProcess, owner: str) -> None:
        self.process = process
        self.owner = owner

    async def on_message(self, message: Message) -> None:
        process, (entry, host, *args) = self.process, message.values
        process.trap_links = message.topic == "trap"
        kind = {"monitor": message.topic == "monitor", "link": message.topic in ("link", "trap")}
        pid = await process.spawn(entry, host, *args, **kind)
        await process.send(self.owner, "spawned", pid)

    async def on_event(self, event: Event) -> None:
        if event.kind == CANCEL:
            self.process.stop(["canceled", event.reason])
        else:
            error = event.error
            await self.process.send(self.owner, event.kind, event.sender, event.value, error and error.message)


async def stubborn(process: AsyncProcess, owner: str, how: str) -> Any:
    """Meets a cancellation in one of several ways."""
    if how == "decides":
        first = asyncio.ensure_future(process.next_event())
        await asyncio.sleep(0)  # from here on it reads events
        await process.send(owner, "ready")
        event = await first
        return [event.kind, event.reason]
    try:
        await process.send(owner, "ready")
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        if how == "value":
            return "cleaned up"
        raise
    finally:
        if how == "tells":
            await process.send(owner, "finally")


async def verbs(process: AsyncProcess) -> Any:
    """Uses the rest of what a process can do."""
    found: dict[str, Any] = {"call": await process.call("app:double", 21)}
    found["exec"] = await process.exec("app:returns", "app:host", 1, 2)
    found["workflow"] = await process.exec("app:doubles", "", 4)
    await process.register("verbs")
    found["lookup"] = await process.lookup("verbs") == process.pid
    await process.send("verbs", "later", 2)
    await process.send(process.pid, "first", 1)
    found["order"] = [(await process.receive("first")).value, (await process.receive()).value]
    found["unregister"] = [await process.unregister("verbs"), await process.unregister("verbs")]
    found["errors"] = []
    for attempt in (
        lambda: process.lookup("verbs"), lambda: process.send("verbs", "x"), lambda: process.monitor("verbs"),
        lambda: process.call("app:nothing"), lambda: process.spawn("app:nothing", "app:host"),
        lambda: process.exec("app:fails", "app:host"),
    ):  # fmt: skip
        try:
            await attempt()
        except ApplicationError as error:
            found["errors"].append([type(error).__name__, error.kind])
    pid = await process.spawn("app:py_session", "app:host", "kid", name="kid", monitor=True, link=True)
    await process.unlink(pid)
    await process.unmonitor(pid)
    await process.terminate("kid")
    await process.link(await process.spawn("app:py_session", "app:host", "kid"))
    other = await process.spawn("app:py_session", "app:host", "kid")
    await process.monitor(other)
    await process.cancel(other, "enough")
    async for event in process.events():
        found["event"] = [event.kind, event.sender == other, event.error and event.error.kind]
        break
    process.check()
    return found


async def guarded(process: AsyncProcess) -> Any:
    """Tries what it may and what it may not do."""
    kinds = []
    await process.send(process.pid, "allowed")
    for attempt in (
        lambda: process.cancel(process.pid), lambda: process.monitor(process.pid), lambda: process.register("x"),
        lambda: process.call("app:double", 1), lambda: process.spawn("app:returns", "app:host"),
    ):  # fmt: skip
        try:
            await attempt()
        except ApplicationError as error:
            kinds.append(error.kind)
    return [(await process.receive(timeout=5)).topic, kinds]


async def ticker(process: AsyncProcess, owner: str) -> None:
    """Says something again and again."""
    while True:
        await process.send(owner, "tick", process.pid)
        await asyncio.sleep(0.02)


async def adds(process: AsyncProcess, one: int, two: int) -> Any:
    """What a function could do."""
    return [one + two, process.pid, process.context.get("tenant")]


async def old_function(process: AsyncProcess, owner: str) -> None:
    """Lets other code go on when it is told to, and leaves other messages unread."""
    process.trap_links = True
    await process.send(owner, "old", process.pid)
    try:
        await process.upgrade(*(await process.receive("go")).values)
    except Exception:
        await process.send(owner, "caught")


async def old_generator(process: AsyncProcess, owner: str) -> Any:
    """The same, by ``yield``."""
    process.trap_links = True
    await process.send(owner, "old", process.pid)
    message = yield
    await process.upgrade(*message.values)


class OldClass:
    """The same, with ordinary methods."""

    def __init__(self, process: Process, owner: str) -> None:
        self.process = process
        self.owner = owner
        process.trap_links = True
        process.send(owner, "old", process.pid)

    def on_message(self, message: Message) -> None:
        self.process.upgrade(*message.values)

    def on_end(self, error: BaseException | None) -> None:
        self.process.send(self.owner, "ended")


class OldAsyncClass:
    """The same, with async methods."""

    def __init__(self, process: AsyncProcess, owner: str) -> None:
        self.process = process
        self.owner = owner

    async def on_start(self) -> None:
        self.process.trap_links = True
        await self.process.send(self.owner, "old", self.process.pid)

    async def on_message(self, message: Message) -> None:
        await self.process.upgrade(*message.values)

    async def on_end(self, error: BaseException | None) -> None:
        await self.process.send(self.owner, "ended")


class NewClass:
    """Goes on where other code was, and says what it has found."""

    def __init__(self, process: Process, owner: str, name: str) -> None:
        self.process = process
        self.owner = owner
        facts = [process.pid, process.entry_id, process.trap_links, process.context["tenant"]]
        process.send(owner, "new", name, *facts)

    def on_message(self, message: Message) -> None:
        if message.topic == "again":
            self.process.upgrade(None, self.owner, "again")
        if message.topic == "stop":
            self.process.stop("stopped")
        self.process.send(self.owner, "read", message.topic, *message.values)


def plain(process: Process) -> None:
    """Neither a class nor async."""


class Mute:
    """Without on_message."""

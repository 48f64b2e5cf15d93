"""What reads for the pages: a bounded number of requests waits for a Redis that is away."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from orchestration.dashboard import reader as module
from orchestration.dashboard.reader import Reader
from orchestration.errors import StoreUnavailableError


class Known:
    """As much of an application as is asked for before the first read."""

    class app:
        finalize = staticmethod(lambda: None)

    runtime = type("Runtime", (), {"connection": None})


@pytest.fixture
def reader() -> Reader:
    known: Any = Known
    return Reader(known)


def test_no_more_than_so_many_wait_and_others_are_told_at_once(reader: Reader) -> None:
    """Each waits five seconds for a Redis that is away, eight at a time: the thousandth would wait ten minutes."""
    answer, begun = threading.Event(), threading.Semaphore(0)

    def wait() -> str:
        begun.release()
        assert answer.wait(30)
        return "answered"

    async def main() -> None:
        waiting = [asyncio.create_task(reader.in_thread(wait)) for _ in range(module._MOST_WAITING)]
        await asyncio.to_thread(begun.acquire)
        with pytest.raises(StoreUnavailableError, match="32 requests wait for Redis already"):
            await reader.in_thread(wait)
        waiting[-1].cancel()  # it had not begun: somebody else may wait now
        await asyncio.gather(waiting[-1], return_exceptions=True)
        more = asyncio.create_task(reader.in_thread(wait))
        await asyncio.sleep(0)
        answer.set()
        assert await asyncio.gather(*waiting[:-1], more) == ["answered"] * module._MOST_WAITING
        assert await reader.in_thread(lambda: 1) == 1

    asyncio.run(main())


def test_what_fails_makes_room_too(reader: Reader) -> None:
    def fail() -> None:
        raise StoreUnavailableError("no reply from Redis")

    async def main() -> None:
        for _ in range(2 * module._MOST_WAITING):
            with pytest.raises(StoreUnavailableError, match="no reply"):
                await reader.in_thread(fail)

    asyncio.run(main())

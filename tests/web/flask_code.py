"""Code of entries that asks which application it runs for."""

from __future__ import annotations

from flask import current_app

from orchestration.process import AsyncProcess, Message, Process


def where_am_i() -> str:
    return f"{current_app.name} {current_app.config['COMPANY']}"


async def async_process(process: AsyncProcess) -> str:
    await process.receive()
    return where_am_i()


class OrdinaryProcess:
    def __init__(self, process: Process) -> None:
        self.process = process

    def on_message(self, message: Message) -> None:
        self.process.stop(where_am_i())

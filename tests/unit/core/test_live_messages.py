"""Processes take several inputs at once; messages reach their receivers as if each had come alone."""

from __future__ import annotations

import os
from typing import Any

import pytest

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.machine import Machine, Mode
from orchestration.store.inputs import encode_input
from tests.support.lua_runs import bundle, meta

PID = "{0123456789ab@app:host|0x00001}"


class Live:
    """A process without a node: its inputs come in batches, its prints are kept."""

    def __init__(self, source: str) -> None:
        self.said: list[str] = []
        self.machine = Machine(bundle(source), mode=Mode.FUNCTION, host=self)
        self.take(encode_input(Code.STARTED, meta(pid=PID, public=True), payload.EMPTY_ARRAY))

    def take(self, *inputs: bytes) -> list[str]:
        """Take inputs in one step; what has been printed so far."""
        self.machine.apply_live(1, inputs)
        return self.said

    def now_ms(self) -> int:
        return 1

    def random(self, n: int) -> bytes:
        return os.urandom(n)

    def log(self, level: str, text: str, fields: Any) -> None:
        self.said.append(text)


def message(topic: str, value: Any) -> bytes:
    return encode_input(Code.SIGNAL, topic, payload.encode([value]), "{0123456789ab@app:host|0x00002}")


def cancel(reason: str) -> bytes:
    return encode_input(Code.CANCEL_REQUESTED, reason, "")


LOOPS = {
    "receive": "while true do print('got', inbox:receive():payload():data()) end",
    "select": """while true do
        local picked = channel.select { inbox:case_receive(), events:case_receive() }
        if picked.channel == events then print('event', picked.value.reason)
        else print('got', picked.value:payload():data()) end
    end""",
}


@pytest.mark.parametrize("loop", LOOPS)
def test_messages_of_one_step_come_in_order(loop: str) -> None:
    live = Live(f"return function() local inbox, events = process.inbox(), process.events() {LOOPS[loop]} end")
    assert live.take(*(message("a", i) for i in range(5))) == [f"got {i}" for i in range(5)]


def test_an_event_between_messages_comes_between_them() -> None:
    live = Live(f"return function() local inbox, events = process.inbox(), process.events() {LOOPS['select']} end")
    said = live.take(message("a", 1), message("a", 2), cancel("stop"), message("a", 3))
    assert said == ["got 1", "got 2", "event stop", "got 3"]


def test_another_task_has_its_event_before_later_messages() -> None:
    live = Live(
        f"""return function()
            local inbox, events = process.inbox(), process.events()
            coroutine.spawn(function() print('event', events:receive().reason) end)
            {LOOPS["receive"]}
        end"""
    )
    said = live.take(message("a", 1), message("a", 2), cancel("stop"), message("a", 3))
    assert said == ["got 1", "event stop", "got 2", "got 3"]


def test_a_task_that_is_ready_runs_before_the_next_message() -> None:
    live = Live(
        """return function()
            local inbox, done = process.inbox(), channel.new(0)
            while true do
                print('got', inbox:receive():payload():data())
                coroutine.spawn(function() done:send(true) print('sent') end)
                done:receive() -- and the task is ready to go on
            end
        end"""
    )
    assert live.take(message("a", 1), message("a", 2)) == ["got 1", "sent", "got 2", "sent"]


def test_each_topic_keeps_its_order_and_nothing_is_lost() -> None:
    live = Live(
        """return function()
            local inbox, news = process.inbox(), process.listen("news")
            while true do
                local picked = channel.select { inbox:case_receive(), news:case_receive() }
                if picked.channel == news then print('news', picked.value)
                else print('inbox', picked.value:payload():data()) end
            end
        end"""
    )
    said = live.take(message("news", 1), message("a", 2), message("a", 3), message("news", 4), message("news", 5))
    assert [line for line in said if line.startswith("news")] == ["news 1", "news 4", "news 5"]
    assert [line for line in said if line.startswith("inbox")] == ["inbox 2", "inbox 3"]


def test_a_channel_that_has_been_given_up_is_fed_no_more() -> None:
    """Its messages are the inbox's again: fed to both, they would be read twice."""
    live = Live(
        """return function()
            local old = process.listen("news")
            print('first', (old:receive()))
            process.unlisten(old)
            for _ = 1, 2 do print('old', (old:receive())) end
            local inbox = process.inbox()
            while true do print('inbox', inbox:receive():payload():data()) end
        end"""
    )
    assert live.take(*(message("news", i) for i in range(1, 5))) == [
        "first 1", "old 2", "old nil", "inbox 3", "inbox 4",
    ]  # fmt: skip


def test_what_was_not_read_in_a_step_goes_to_the_code_of_an_upgrade() -> None:
    live = Live(
        """return function()
            local inbox = process.inbox()
            inbox:receive()
            inbox:receive()
            process.upgrade()
        end"""
    )
    [command] = live.machine.apply_live(1, [message("a", i) for i in range(4)])
    assert payload.encode([2]) in command
    assert payload.encode([3]) in command
    assert payload.encode([1]) not in command

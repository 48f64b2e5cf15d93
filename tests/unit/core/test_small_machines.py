"""A process that waits takes little memory and was made quickly: a worker holds thousands of them."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestration.core import events, payload
from orchestration.core.bundle import Bundle
from orchestration.core.machine import Machine, Mode
from orchestration.core.payload import NIL
from orchestration.types import EntryId, Limits
from tests.support.lua_runs import bundle, meta

WAITS = """
local time = require("time")
local function main()
  local inbox, events = process.inbox(), process.events()
  while true do
    local got = channel.select { inbox:case_receive(), events:case_receive() }
    if got.channel == events then return "done" end
  end
end
return { main = main }
"""
COLLECT = b"collectgarbage"


class Host:
    def now_ms(self) -> int:
        return 1_700_000_000_000

    def random(self, n: int) -> bytes:
        return bytes(n)

    def log(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        pass

    def verb(self, name: str, packed: bytes) -> tuple[bool, bytes]:
        assert (name, packed) == ("process.expose", payload.EMPTY_ARRAY)
        return True, NIL

    def send(self, packed: bytes) -> bool:
        raise NotImplementedError


def waiting_process() -> Machine:
    code: Bundle = bundle(WAITS, modules=("time", "channel", "process"))
    machine = Machine(code, limits=Limits(memory_bytes=8 << 20), mode=Mode.FUNCTION, host=Host())
    started = events.encode(events.Started(1_700_000_000_000, meta(), payload.EMPTY_ARRAY))
    assert machine.apply(started) == []
    return machine


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_a_waiting_process_takes_less_than_96_kib_of_lua_memory() -> None:
    """It collects its garbage when it first waits: nothing is left that a further collection would find."""
    machine = waiting_process()
    at_rest = machine.memory_bytes()
    machine._world.rt[b"raw"][COLLECT](COLLECT[:7])
    assert machine.memory_bytes() <= 96 * 1024
    assert at_rest - machine.memory_bytes() <= 8 * 1024


def test_its_memory_stays_small_while_messages_come() -> None:
    machine = waiting_process()
    for number in range(2000):
        signal = events.Signal(1_700_000_000_001 + number, "topic", payload.encode([{"n": number}]), "{x@y|1}")
        assert machine.apply(events.encode(signal)) == []
    machine._world.rt[b"raw"][COLLECT](COLLECT[:7])
    assert machine.memory_bytes() <= 112 * 1024


def test_it_still_ends_as_it_should() -> None:
    machine = waiting_process()
    cancel = events.CancelRequested(1_700_000_000_001, "enough", "{x@y|1}")
    (last,) = map(events.decode, machine.apply(events.encode(cancel)))
    assert last == events.Complete(payload.encode("done"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_300_processes_take_less_than_50_mb_of_the_worker() -> None:
    """What the allocator adds, and Python's own objects, count as well."""
    keep = [waiting_process() for _ in range(20)]
    gc.collect()
    before = rss_bytes()
    keep += [waiting_process() for _ in range(300)]
    assert (rss_bytes() - before) / 300 <= 165 * 1024
    assert all(machine.memory_bytes() <= 100 * 1024 for machine in keep)


def test_making_one_is_quick() -> None:
    """Half a millisecond on a machine of today; the best of many, and room for slow ones."""
    waiting_process()
    best = 1.0
    for _ in range(30):
        began = time.perf_counter()
        waiting_process()
        best = min(best, time.perf_counter() - began)
    assert best < 0.003


def test_prelude_files_are_small_enough_to_be_read() -> None:
    folder = Path(__file__).parents[3] / "orchestration/core/lua/prelude"
    assert {path.name: n for path in folder.glob("*.lua") if (n := path.read_text().count("\n")) > 400} == {}


def test_the_entry_id_is_known_without_its_source() -> None:
    """The text of a program is let go of once it has been compiled."""
    machine = waiting_process()
    program = machine._world.rt[b"program"]
    assert program[b"entry"][b"id"] == EntryId("app:flow").encode()
    assert program[b"entry"][b"source"] is None

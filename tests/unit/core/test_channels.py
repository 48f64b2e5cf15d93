# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Channels, select and the order in which tasks wake."""

from __future__ import annotations

import pytest

from tests.support.lua_runs import Run, returned

LOG = "local log = {} local function say(x) log[#log + 1] = x end "


def test_a_spawned_task_runs_before_its_spawner() -> None:
    assert returned(LOG + "coroutine.spawn(function() say('task') end) say('main') return log") == ["task", "main"]


def test_spawn_gives_a_thread_and_hands_on_no_arguments() -> None:
    body = "local n local t = coroutine.spawn(function(...) n = select('#', ...) end) return {type(t), n, coroutine.status(t)}"
    assert returned(body) == ["thread", 0, "dead"]


def test_a_send_readies_the_sender_then_the_receiver() -> None:
    body = """
      local c = channel.new()
      coroutine.spawn(function() say('r' .. c:receive()) end)
      coroutine.spawn(function() say('other') end)
      c:send(1) say('sender')
      local done = channel.new() coroutine.spawn(function() done:close() end) done:receive()
      return log"""
    assert returned(LOG + body) == ["other", "sender", "r1"]


def test_a_receive_readies_the_receiver_then_the_sender() -> None:
    body = """
      local c = channel.new()
      coroutine.spawn(function() c:send(1) say('sender') end)
      say('got' .. c:receive())
      coroutine.spawn(function() end)
      return log"""
    assert returned(LOG + body) == ["got1", "sender"]


def test_a_close_readies_senders_receivers_then_the_closer() -> None:
    body = """
      local a = channel.new()
      for i = 1, 2 do coroutine.spawn(function() local v, ok = a:receive() say('r' .. i .. tostring(v) .. tostring(ok)) end) end
      a:close() say('closer')
      local b = channel.new()
      coroutine.spawn(function() local ok, err = b:send(1) say(tostring(ok) .. ' ' .. err:message()) end)
      b:close() say('closer')
      b:close()
      return log"""
    assert returned(LOG + body) == ["r1nilfalse", "r2nilfalse", "closer", "nil send on closed channel", "closer"]


def test_buffers_hold_values_and_are_drained_after_a_close() -> None:
    body = """
      local c = channel.new(2)
      c:send(1) c:send(nil) c:close()
      for i = 1, 3 do local v, ok = c:receive() say(tostring(v) .. tostring(ok)) end
      say(select(2, pcall(c.send, c, 1)))
      return log"""
    log = returned(LOG + body)
    assert log[:3] == ["1true", "niltrue", "nilfalse"]
    assert log[3].endswith("send on closed channel")


def test_a_full_buffer_blocks_in_order() -> None:
    body = """
      local c = channel.new(1)
      for i = 1, 4 do coroutine.spawn(function() c:send(i) end) end
      for i = 1, 4 do say(c:receive()) end
      return log"""
    assert returned(LOG + body) == [1, 2, 3, 4]


def test_select_takes_the_first_ready_case_in_table_order() -> None:
    body = """
      local a, b = channel.new(1), channel.new(1)
      a:send('a') b:send('b')
      local r = channel.select{ "no case", b:case_receive(), a:case_receive() }
      return {r.value, r.ok, r.channel == b, r.index}"""
    assert returned(body) == ["b", True, True]


def test_select_with_default_does_not_wait() -> None:
    body = """
      local a = channel.new()
      local r = channel.select{ a:case_receive(), default = true }
      local s = channel.select({ a:case_send(1) }, true)
      return {r.default, r.ok, r.channel == nil, s.default}"""
    assert returned(body) == [True, True, True, True]


def test_select_sends_and_withdraws_its_other_cases() -> None:
    body = """
      local a, b = channel.new(), channel.new()
      coroutine.spawn(function() say(a:receive()) say(tostring(channel.select{ b:case_receive(), default = true }.default)) end)
      local case = a:case_send('v')
      local r = channel.select{ b:case_send('w'), case }
      say(r.channel == a) say(r.value) say(r.ok)
      coroutine.spawn(function() end)
      return log"""
    assert returned(LOG + body) == [True, "v", True, "v", "true"]


def test_a_blocked_select_is_woken_by_send_and_close() -> None:
    body = """
      local a, b = channel.new(), channel.new()
      coroutine.spawn(function() b:send(5) b:close() end)
      local r = channel.select{ a:case_receive(), b:case_receive() } say(r.value) say(r.ok)
      r = channel.select{ a:case_receive(), b:case_receive() } say(r.ok) say(r.channel == b)
      return log"""
    assert returned(LOG + body) == [5, True, False, True]


@pytest.mark.parametrize(
    "prepare", ["c:close()", "coroutine.spawn(function() local d = channel.new(1) d:send(1) c:close() end)"]
)
def test_a_send_case_on_a_closed_channel_raises(prepare: str) -> None:
    body = "local c = channel.new() " + prepare + " return select(2, pcall(channel.select, { c:case_send(1) }))"
    assert "send on closed channel" in returned(body)


def test_selecting_for_ever_leaves_nothing_behind() -> None:
    run = Run("""return function()
      local quiet, busy = channel.new(), channel.new()
      coroutine.spawn(function() for i = 1, 20000 do busy:send(i) end busy:close() end)
      local n = 0
      while channel.select{ quiet:case_receive(), busy:case_receive() }.ok do n = n + 1 end
      collectgarbage = nil
      return n
    end""")
    run.start()
    assert run.result == 20000
    assert run.machine.memory_bytes() < 4_000_000


def test_waiting_inside_a_users_coroutine_suspends_the_task() -> None:
    body = """
      local c = channel.new()
      local gen = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(c:receive()) end end)
      coroutine.spawn(function() for i = 1, 3 do say('send' .. i) c:send(i) end end)
      for i = 1, 3 do say(gen()) end
      return log"""
    assert returned(LOG + body) == ["send1", 1, "send2", "send3", 2, 3]


def test_calls_inside_a_generator_are_ordinary() -> None:
    body = """
      local funcs = require('funcs')
      local co = coroutine.create(function() local inner = coroutine.wrap(function() coroutine.yield(funcs.call('a:b', 7)) end)
        coroutine.yield(inner()) end)
      local ok, v = coroutine.resume(co) return {ok, v, coroutine.status(co)}"""
    assert returned(body) == [True, 7, "suspended"]


def test_waiting_inside_pcall_and_close_works() -> None:
    body = """
      local c = channel.new(1)
      local ok, v = pcall(function()
        local guard <close> = setmetatable({}, {__close = function() c:send(1) coroutine.spawn(function() end) end})
        coroutine.spawn(function() end)
        return 'x'
      end)
      return {ok, v, (c:receive())}"""
    assert returned(body) == [True, "x", 1]


@pytest.mark.parametrize(
    "body",
    [
        "table.sort({3, 2, 1}, function(a, b) c:receive() return a < b end)",
        "string.gsub('a', 'a', function() c:receive() end)",
        "tostring(setmetatable({}, {__tostring = function() c:receive() return '' end}))",
    ],
)
def test_waiting_where_it_is_impossible_is_a_clear_error(body: str) -> None:
    text = returned(f"local c = channel.new() return select(2, pcall(function() {body} end))")
    assert "wait" in text


def test_a_deadlock_is_an_error_of_the_run() -> None:
    run = Run("return function() local c = channel.new() coroutine.spawn(function() c:receive() end) c:receive() end")
    run.start()
    assert run.failure["message"] == "deadlock: all coroutines blocked with no pending operations (threads=2)"


def test_an_error_in_any_task_fails_the_run() -> None:
    run = Run("return function() coroutine.spawn(function() error('boom') end) channel.new():receive() end")
    run.start()
    assert run.failure["message"] == "flow.lua:1: boom"


def test_tasks_left_when_main_returns_are_dropped() -> None:
    run = Run("""return function()
      local funcs = require('funcs')
      coroutine.spawn(function() funcs.call('a:b') end)
      return 1 end""")
    run.start()
    assert run.result == 1
    assert run.complete(1) == []


def test_ten_thousand_calls_at_once() -> None:
    run = Run("""return function(n)
      local funcs, futures, sum = require('funcs'), {}, 0
      for i = 1, n do futures[i] = funcs.async('a:b', i) end
      for i = 1, n do sum = sum + futures[i]:response():receive():data() end
      return sum end""")
    commands = run.start(10_000)
    assert [command.seq for command in commands] == list(range(1, 10_001))  # type: ignore[attr-defined]
    run.auto()
    assert run.result == 50_005_000

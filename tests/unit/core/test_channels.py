# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Channels, select and the order in which tasks wake: the same in workflows, functions and processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestration.core.machine import Mode
from tests.support.lua import RecordingHost
from tests.support.lua_runs import Run

LOG = "local log = {} local function say(x) log[#log + 1] = x end "

Make = Callable[[str], Run]
Returned = Callable[[str], Any]


@pytest.fixture(params=list(Mode), ids=lambda mode: mode.value)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a run."""
    return lambda source: Run(source, mode=request.param, host=RecordingHost())


@pytest.fixture
def returned(make: Make) -> Returned:
    """What a main function of this body returns."""

    def result(body: str) -> Any:
        run = make(f"return function(...) {body}\nend")
        run.start()
        run.auto()
        return run.result

    return result


def test_a_spawned_task_runs_before_its_spawner(returned: Returned) -> None:
    assert returned(LOG + "coroutine.spawn(function() say('task') end) say('main') return log") == ["task", "main"]


def test_spawn_gives_a_thread_and_hands_on_no_arguments(returned: Returned) -> None:
    body = "local n local t = coroutine.spawn(function(...) n = select('#', ...) end) return {type(t), n, coroutine.status(t)}"
    assert returned(body) == ["thread", 0, "dead"]


def test_a_send_readies_the_sender_then_the_receiver(returned: Returned) -> None:
    body = """
      local c = channel.new()
      coroutine.spawn(function() say('r' .. c:receive()) end)
      coroutine.spawn(function() say('other') end)
      c:send(1) say('sender')
      local done = channel.new() coroutine.spawn(function() done:close() end) done:receive()
      return log"""
    assert returned(LOG + body) == ["other", "sender", "r1"]


def test_a_receive_readies_the_receiver_then_the_sender(returned: Returned) -> None:
    body = """
      local c = channel.new()
      coroutine.spawn(function() c:send(1) say('sender') end)
      say('got' .. c:receive())
      coroutine.spawn(function() end)
      return log"""
    assert returned(LOG + body) == ["got1", "sender"]


def test_a_close_readies_senders_receivers_then_the_closer(returned: Returned) -> None:
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


def test_buffers_hold_values_and_are_drained_after_a_close(returned: Returned) -> None:
    body = """
      local c = channel.new(2)
      c:send(1) c:send(nil) c:close()
      for i = 1, 3 do local v, ok = c:receive() say(tostring(v) .. tostring(ok)) end
      say(select(2, pcall(c.send, c, 1)))
      return log"""
    log = returned(LOG + body)
    assert log[:3] == ["1true", "niltrue", "nilfalse"]
    assert log[3].endswith("send on closed channel")


def test_without_a_size_or_with_a_negative_one_nothing_is_buffered(returned: Returned) -> None:
    body = """
      for _, c in ipairs{ channel.new(), channel.new(0), channel.new(-3) } do
        say(channel.select{ c:case_send(1), default = true }.default)
      end
      say(pcall(channel.new, { size = 1 }))
      return log"""
    assert returned(LOG + body) == [True, True, True, False]


def test_a_channel_that_is_closed_and_empty_gives_nil_and_false_any_number_of_times(returned: Returned) -> None:
    body = """
      local c = channel.new()
      say(select('#', c:close())) say(select('#', c:close()))
      for i = 1, 3 do local v, ok = c:receive() say(tostring(v) .. tostring(ok)) end
      say(type(c))
      return log"""
    assert returned(LOG + body) == [0, 0, "nilfalse", "nilfalse", "nilfalse", "userdata"]


def test_a_send_gives_true_at_once_or_after_waiting(returned: Returned) -> None:
    body = """
      local c = channel.new(1)
      say(c:send(1))
      coroutine.spawn(function() say(c:send(2)) end)
      say(c:receive()) say(c:receive())
      coroutine.spawn(function() end)
      return log"""
    assert returned(LOG + body) == [True, 1, 2, True], "the receiver goes on before the sender"


def test_who_waited_longest_is_served_first(returned: Returned) -> None:
    body = """
      local c = channel.new()
      for i = 1, 3 do coroutine.spawn(function() say(i .. tostring(c:receive())) end) end
      for _, v in ipairs{ 'a', 'b', 'c' } do c:send(v) end
      coroutine.spawn(function() end)
      return log"""
    assert returned(LOG + body) == ["1a", "2b", "3c"]


def test_a_switch_happens_only_where_a_task_waits_or_wakes_another(returned: Returned) -> None:
    body = """
      local c = channel.new(5)
      coroutine.spawn(function() c:receive() say('task') end)
      for i = 1, 3 do say(i) end
      c:send(1) say('after')
      local d = channel.new(1) d:send(1) d:receive() say('no switch')
      coroutine.spawn(function() end)
      return log"""
    assert returned(LOG + body) == [1, 2, 3, "after", "no switch", "task"]


def test_a_full_buffer_blocks_in_order(returned: Returned) -> None:
    body = """
      local c = channel.new(1)
      for i = 1, 4 do coroutine.spawn(function() c:send(i) end) end
      for i = 1, 4 do say(c:receive()) end
      return log"""
    assert returned(LOG + body) == [1, 2, 3, 4]


def test_select_takes_the_first_ready_case_in_table_order(returned: Returned) -> None:
    body = """
      local a, b = channel.new(1), channel.new(1)
      a:send('a') b:send('b')
      local r = channel.select{ "no case", b:case_receive(), a:case_receive() }
      return {r.value, r.ok, r.channel == b, r.index}"""
    assert returned(body) == ["b", True, True]


def test_cases_may_be_used_again(returned: Returned) -> None:
    body = """
      local c = channel.new(1)
      local sends, receives = c:case_send(7), c:case_receive()
      for i = 1, 2 do channel.select{ sends } say(channel.select{ receives }.value) end
      return log"""
    assert returned(LOG + body) == [7, 7]


def test_the_result_of_select_has_no_other_fields(returned: Returned) -> None:
    body = """
      local c = channel.new(1)
      local function keys(r) local n = {} for k in pairs(r) do n[#n + 1] = k end table.sort(n) return table.concat(n, ' ') end
      return { keys(channel.select{ c:case_send(1) }), keys(channel.select{ c:case_receive() }),
               keys(channel.select{ c:case_receive(), default = true }) }"""
    assert returned(body) == ["channel ok value", "channel ok value", "default ok"]


@pytest.mark.parametrize("cases", ["{}", "{ 'no case', 5 }", "{ default = false }"])
def test_a_select_without_cases_waits_for_good(make: Make, cases: str) -> None:
    run = make(f"return function() channel.select({cases}) end")
    run.start()
    assert run.failure["message"].startswith("deadlock")


def test_select_with_default_does_not_wait(returned: Returned) -> None:
    body = """
      local a = channel.new()
      local r = channel.select{ a:case_receive(), default = true }
      local s = channel.select({ a:case_send(1) }, true)
      return {r.default, r.ok, r.channel == nil, s.default}"""
    assert returned(body) == [True, True, True, True]


def test_select_sends_and_withdraws_its_other_cases(returned: Returned) -> None:
    body = """
      local a, b = channel.new(), channel.new()
      coroutine.spawn(function() say(a:receive()) say(tostring(channel.select{ b:case_receive(), default = true }.default)) end)
      local case = a:case_send('v')
      local r = channel.select{ b:case_send('w'), case }
      say(r.channel == a) say(r.value) say(r.ok)
      coroutine.spawn(function() end)
      return log"""
    assert returned(LOG + body) == [True, "v", True, "v", "true"]


def test_a_blocked_select_is_woken_by_send_and_close(returned: Returned) -> None:
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
def test_a_send_case_on_a_closed_channel_raises(returned: Returned, prepare: str) -> None:
    body = "local c = channel.new() " + prepare + " return select(2, pcall(channel.select, { c:case_send(1) }))"
    assert "send on closed channel" in returned(body)


def test_selecting_for_ever_leaves_nothing_behind(make: Make) -> None:
    run = make("""return function()
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


def test_waiting_inside_a_users_coroutine_suspends_the_task(returned: Returned) -> None:
    body = """
      local c = channel.new()
      local gen = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(c:receive()) end end)
      coroutine.spawn(function() for i = 1, 3 do say('send' .. i) c:send(i) end end)
      for i = 1, 3 do say(gen()) end
      return log"""
    assert returned(LOG + body) == ["send1", 1, "send2", "send3", 2, 3]


def test_calls_inside_a_generator_are_ordinary(returned: Returned) -> None:
    body = """
      local funcs = require('funcs')
      local co = coroutine.create(function() local inner = coroutine.wrap(function() coroutine.yield(funcs.call('a:b', 7)) end)
        coroutine.yield(inner()) end)
      local ok, v = coroutine.resume(co) return {ok, v, coroutine.status(co)}"""
    assert returned(body) == [True, 7, "suspended"]


def test_waiting_inside_pcall_and_close_works(returned: Returned) -> None:
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
def test_waiting_where_it_is_impossible_is_a_clear_error(returned: Returned, body: str) -> None:
    text = returned(f"local c = channel.new() return select(2, pcall(function() {body} end))")
    assert "wait" in text


def test_a_deadlock_is_an_error_of_the_run(make: Make) -> None:
    run = make("return function() local c = channel.new() coroutine.spawn(function() c:receive() end) c:receive() end")
    run.start()
    assert run.failure["message"] == "deadlock: all coroutines blocked with no pending operations (threads=2)"


def test_an_error_in_any_task_fails_the_run(make: Make) -> None:
    run = make("return function() coroutine.spawn(function() error('boom') end) channel.new():receive() end")
    run.start()
    assert run.failure["message"] == "flow.lua:1: boom"


def test_tasks_left_when_main_returns_are_dropped(make: Make) -> None:
    run = make("""return function()
      local funcs = require('funcs')
      coroutine.spawn(function() funcs.call('a:b') end)
      return 1 end""")
    run.start()
    assert run.result == 1
    assert run.complete(1) == []


def test_ten_thousand_calls_at_once(make: Make) -> None:
    run = make("""return function(n)
      local funcs, futures, sum = require('funcs'), {}, 0
      for i = 1, n do futures[i] = funcs.async('a:b', i) end
      for i = 1, n do sum = sum + futures[i]:response():receive():data() end
      return sum end""")
    commands = run.start(10_000)
    assert [command.seq for command in commands] == list(range(1, 10_001))  # type: ignore[attr-defined]
    run.auto()
    assert run.result == 50_005_000


def test_a_topic_is_bound_to_a_channel_of_ones_own_until_it_is_taken_back(make: Make) -> None:
    run = make("""return function()
      local ch = channel.new(2)
      local bound = subscribe('t', ch)
      local ok, err = subscribe('t', channel.new())
      local first = ch:receive()
      unsubscribe(ch)
      local later = process.inbox():receive():payload():data()
      local again = subscribe('t', channel.new())
      return { bound, ok == nil, err:kind(), first, later, again, channel.select{ ch:case_receive(), default = true }.default }
    end""")
    run.start()
    run.signal("t", 1)
    run.signal("t", 2)
    assert run.result == [True, True, "AlreadyExists", 1, 2, True, True]


@pytest.mark.parametrize("code", ["subscribe()", "subscribe('t', {})", "coroutine.spawn(5)", "channel.select(5)", "channel.new('x')"])
def test_wrong_arguments_raise(returned: Returned, code: str) -> None:
    assert "bad argument" in returned(f"return select(2, pcall(function() {code} end))")


def test_channels_and_cases_become_nil_when_they_leave(returned: Returned) -> None:
    assert returned("local c = channel.new() return { c, c:case_receive(), coroutine.spawn(function() end), 1 }") == [None, None, None, 1]

"""What waits in the Lua module time: sleep, after, timer, ticker. And os, which reads the same clock."""

from __future__ import annotations

import datetime
import time as clock
from typing import Any

import pytest

from orchestration.core import events
from orchestration.core.machine import Mode
from tests.support.lua import START_MS, LuaFailure, RecordingHost, open_machine, run_in_both_modes, run_lua

MS = 1_000_000


def lua(source: str, *args: Any, **options: Any) -> Any:
    return run_in_both_modes(source, *args, modules=("time",), **options)


@pytest.mark.parametrize(
    ("value", "slept_ms"),
    [
        ("'1.5s'", 1500),
        ("time.SECOND", 1000),
        ("1", 1),
        ("1000001", 2),
        ("time.parse_duration('1h')", 3_600_000),
        ("2.5e6", 3),
    ],
)
def test_sleep_is_never_shorter(value: str, slept_ms: int) -> None:
    found = lua(
        f"local a = time.now() local n = select('#', time.sleep({value}))"
        " return { time.now():sub(a):milliseconds(), n }"
    )
    assert found == [slept_ms, 0]


@pytest.mark.parametrize("value", ["0", "-5", "'0s'", "'-1h'"])
def test_nothing_is_waited_for_when_there_is_nothing_to_wait(value: str) -> None:
    assert lua(f"return select('#', time.sleep({value}))", most_timers=1) == 0


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    found = lua("""local order, done = {}, channel.new()
      for _, n in ipairs { 3, 1, 2 } do
        coroutine.spawn(function() time.sleep(n * time.SECOND) order[#order + 1] = n done:send(true) end)
      end
      for _ = 1, 3 do done:receive() end
      return order""")
    assert found == [1, 2, 3]


def test_after_delivers_one_time_and_closes() -> None:
    found = lua("""local ch = time.after("2s")
      local t, ok = ch:receive() local nothing, more = ch:receive()
      return { t:unix_nano(), ok, nothing == nil, more }""")
    assert found == [(START_MS + 2000) * MS, True, True, False]


def test_select_with_a_timeout() -> None:
    found = lua("""local ch, timeout = channel.new(), time.after("1s")
      local result = channel.select { ch:case_receive(), timeout:case_receive() }
      return { result.channel == timeout, result.ok, result.value:unix_nano() }""")
    assert found == [True, True, (START_MS + 1000) * MS]


@pytest.mark.parametrize("name", ["after", "timer", "ticker"])
@pytest.mark.parametrize("value", ["0", "-1", "'0s'", "'-1s'"])
def test_lengths_must_be_positive(name: str, value: str) -> None:
    found = lua(f"local v, err = time.{name}({value}) return {{ v == nil, err:kind(), err:message() }}")
    assert found == [True, "Invalid", f"time.{name}: duration must be > 0"]


def test_timer_fires_once() -> None:
    found = lua("""local t = time.timer("1s")
      local same = t:channel() == t:channel() and t:channel() == t:response()
      local at = t:channel():receive()
      return { same, at:unix_nano(), t:stop(), type(t) }""")
    assert found == [True, (START_MS + 1000) * MS, False, "userdata"]


def test_stopped_timers_do_not_fire() -> None:
    found = lua("""local t = time.timer("1s")
      local first, second = t:stop(), t:stop()
      local result = channel.select { t:channel():case_receive(), time.after("1h"):case_receive() }
      return { first, second, result.channel == t:channel(), time.now():unix_nano() }""")
    assert found == [True, False, False, (START_MS + 3_600_000) * MS]


def test_reset_starts_again_and_withdraws_what_nobody_took() -> None:
    found = lua("""local t = time.timer("1s")
      local running = t:reset("5s")
      local first = t:channel():receive():unix_nano()
      local again = t:reset(time.SECOND)
      time.sleep("10s")
      local fired = t:reset("1s")
      local last = t:channel():receive():unix_nano()
      return { running, first, again, fired, last }""")
    assert found == [True, (START_MS + 5000) * MS, False, False, (START_MS + 16_000) * MS]


@pytest.mark.parametrize("value", ["0", "-1", "'0s'"])
def test_reset_raises_for_nothing_to_wait(value: str) -> None:
    with pytest.raises(LuaFailure, match="timer:reset: duration must be > 0"):
        lua(f"time.timer('1s'):reset({value})")


def test_reset_raises_for_what_is_no_duration() -> None:
    with pytest.raises(LuaFailure, match="bad argument #1 to 'reset'"):
        lua("time.timer('1s'):reset('soon')")


def test_ticks_come_at_their_times_and_stop() -> None:
    found = lua("""local t = time.ticker("1s")
      local ticks = {}
      for i = 1, 3 do ticks[i] = t:channel():receive():unix_nano() end
      local first, second = t:stop(), t:stop()
      local result = channel.select { t:response():case_receive(), time.after("1h"):case_receive() }
      return { ticks, first, second, result.channel == t:channel(), t:response() == t:channel(), type(t) }""")
    ticks = [(START_MS + second * 1000) * MS for second in (1, 2, 3)]
    assert found == [ticks, True, False, False, True, "userdata"]


def test_ticks_that_nobody_takes_are_dropped() -> None:
    found = lua("""local t = time.ticker("1s")
      time.sleep("3.5s")
      local a, b = t:channel():receive():unix_nano(), t:channel():receive():unix_nano()
      return { a, b }""")
    assert found == [(START_MS + 1000) * MS, (START_MS + 4000) * MS]


def test_late_ticks_do_not_add_up() -> None:
    """A worker was away: one tick comes late, the next ones at the times they would have had."""
    machine = open_machine("local t = time.ticker('1s') while true do t:channel():receive() end", modules=("time",))
    first = events.decode(machine.start()[0])
    assert isinstance(first, events.StartTimer)
    late = machine.machine.apply(events.encode(events.TimerFired(time_ms=START_MS + 3_400, seq=first.seq)))
    following = events.decode(late[0])
    assert isinstance(following, events.StartTimer)
    assert following.delay_ms == 600
    machine.machine.close()


def test_a_run_that_ends_leaves_its_timers() -> None:
    assert lua("time.ticker('1s') time.timer('1h') time.after('1h') return 1") == 1


def test_waiting_is_refused_inside_a_sort() -> None:
    with pytest.raises(LuaFailure, match="cannot wait here"):
        lua("table.sort({ 3, 1, 2 }, function(a, b) time.sleep('1s') return a < b end)")


# os ------------------------------------------------------------------------------------------------------------------


def test_os_time_is_the_time_of_the_run() -> None:
    found = lua(
        "local a = os.time() time.sleep('1h') return { a, os.time() - a, os.difftime(5, 3), os.platform, os.clock() }"
    )
    assert found == [START_MS // 1000, 3600, 2.0, "wippy", pytest.approx((START_MS + 3_600_000) / 1000)]


def test_os_has_nothing_else() -> None:
    found = lua("local names = {} for name in pairs(os) do names[#names + 1] = name end table.sort(names) return names")
    assert found == ["clock", "date", "difftime", "platform", "time"]


@pytest.mark.parametrize("second", [0, 1_709_251_087, -1, 1_735_689_599, 4_102_444_800, 951_782_400, 1_704_067_200])
def test_os_date_writes_as_the_c_library_does(second: int) -> None:
    items = list("aAbBcCdDeFgGhHIjmMprRSTuUVwWxXyY%")
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=second)
    found = lua(
        "local items, second = ... local out = {}"
        " for i, item in ipairs(items) do out[i] = os.date('!%' .. item, second) end return out",
        items,
        second,
    )
    assert found == [moment.strftime(f"%{item}") for item in items]


def test_os_date_in_the_zone_of_the_run() -> None:
    found = lua(
        "return { os.date('%F %T %z %Z', 1720000000), os.date('!%H', 1720000000), os.date('*t', 1720000000),"
        " os.time{ year = 2024, month = 7, day = 3, hour = 5, min = 46, sec = 40 } }",
        tz="America/New_York",
    )
    assert found == [
        "2024-07-03 05:46:40 -0400 EDT",
        "09",
        {"year": 2024, "month": 7, "day": 3, "hour": 5, "min": 46, "sec": 40, "wday": 4, "yday": 185, "isdst": True},
        1720000000,
    ]


def test_os_time_of_a_table() -> None:
    found = lua("""local t = { year = 2024, month = 14, day = 0 }
      return { os.time(t), t.year, t.month, t.day, t.hour, os.time { year = 1970, month = 1, day = 1, hour = 0 } }""")
    assert found == [1738324800, 2025, 1, 31, 12, 0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("os.time({ year = 2024 })", "field 'month' missing in date table"),
        ("os.time({ year = 'x', month = 1, day = 1 })", "field 'year' is not an integer"),
        ("os.time({ year = 2^40, month = 1, day = 1 })", "field 'year' is out-of-bound"),
        ("os.time(5)", "table expected"),
        ("os.date('%Ez')", None),
        ("os.date('%Q')", "invalid conversion specifier '%Q'"),
        ("os.date('%')", "invalid conversion specifier '%'"),
        ("os.date('%c', 'x')", "number expected"),
        ("os.date('%c', 1.5)", "no integer representation"),
    ],
)
def test_os_refuses(call: str, words: str | None) -> None:
    if words is None:
        assert lua(f"return {call}") == "+0000"
        return
    with pytest.raises(LuaFailure, match=words):
        lua(f"local v = {call} return v")


def test_the_clock_of_a_function_is_real() -> None:
    class Real(RecordingHost):
        def now_ms(self) -> int:
            return int(clock.time() * 1000)

    before = int(clock.time())
    assert before <= run_lua("return os.time()", mode=Mode.FUNCTION, host=Real()) <= clock.time()

# ruff: noqa: E501 - Lua sources read better on one line
"""The cases by which the reference runtime tests its workflows, as far as no other test has them."""

from __future__ import annotations

from orchestration.core import events, payload
from tests.support.lua_runs import Run

OTHER = "{app:client@app:worker|other}"


def test_two_workers_over_channels_double_four_jobs() -> None:
    run = Run("""local time = require('time')
      return function(jobs)
        local work, done = channel.new(#jobs), channel.new(#jobs)
        for _ = 1, 2 do
          coroutine.spawn(function()
            while true do
              local job, open = work:receive()
              if not open then return end
              time.sleep('10ms')
              done:send(job * 2)
            end
          end)
        end
        for _, job in ipairs(jobs) do work:send(job) end
        work:close()
        local total = 0
        for _ = 1, #jobs do total = total + done:receive() end
        return total
      end""")
    run.start([1, 2, 3, 4])
    run.auto()
    assert run.result == 20


def test_a_workflow_measures_its_own_sleeps() -> None:
    run = Run("""local time = require('time')
      return function()
        local begun, timeline = time.now(), {}
        for i = 1, 3 do
          timeline[i] = {step = i, at = time.now():sub(begun):milliseconds()}
          if i < 3 then time.sleep('10ms') end
        end
        return {total_elapsed_ms = time.now():sub(begun):milliseconds(), timeline = timeline}
      end""")
    run.start()
    run.auto()
    assert run.result["total_elapsed_ms"] >= 20
    assert [entry["step"] for entry in run.result["timeline"]] == [1, 2, 3]


def test_signals_are_selected_beside_an_activity() -> None:
    run = Run("""local funcs = require('funcs')
      return function()
        local work, stop = funcs.async('a:work'), process.listen('stop')
        local first = channel.select{ work:response():case_receive(), stop:case_receive() }
        local reason = first.channel == stop and first.value
        return {reason = reason, result = work:response():receive():data()}
      end""")
    run.start()
    assert run.signal("stop", "enough") == []
    run.complete(1, 42)
    assert run.result == {"reason": "enough", "result": 42}


def test_a_conversation_of_ack_nak_and_ok_with_listeners_in_tasks() -> None:
    """The topics mean nothing by themselves: they are an agreement between sender and workflow."""
    run = Run("""return function()
        local counter, updates, done = 0, 0, channel.new()
        local function on(topic, handle)
          local messages = process.listen(topic, {message = true})
          coroutine.spawn(function()
            while true do
              local msg, open = messages:receive()
              if not open then return end
              handle(msg)
            end
          end)
        end
        on('increment', function(msg) counter = counter + msg:payload():data() end)
        on('decrement', function(msg) counter = counter - msg:payload():data() end)
        on('update', function(msg)
          local value = msg:payload():data()
          if value < 0 then process.send(msg:from(), 'nak', 'negative') return end
          process.send(msg:from(), 'ack')
          counter, updates = value, updates + 1
          process.send(msg:from(), 'ok', counter)
        end)
        on('finish', function() done:send(true) end)
        done:receive()
        return {counter = counter, updates = updates}
      end""")
    run.start()
    said: list[tuple[str, list[object]]] = []

    def tell(topic: str, *values: object) -> None:
        commands = run.signal(topic, *values, sender=OTHER)
        while commands:
            for command in commands:
                if isinstance(command, events.SendSignal):
                    assert command.pid == OTHER
                    said.append((command.topic, payload.decode(command.args)))
                    commands = run.done(command.seq)
                else:
                    commands = []

    tell("increment", 2)
    tell("update", -1)
    tell("update", 5)
    tell("update", 4)
    tell("decrement", 1)
    tell("finish")
    assert said == [("nak", ["negative"]), ("ack", []), ("ok", [5]), ("ack", []), ("ok", [4])]
    assert run.result == {"counter": 3, "updates": 2}


def test_an_async_activity_is_selected_against_a_timeout() -> None:
    run = Run("""local funcs, time = require('funcs'), require('time')
      return function()
        local work, timeout = funcs.async('a:work', {n = 1}), time.after('5s')
        local first = channel.select{ work:channel():case_receive(), timeout:case_receive() }
        if first.channel == timeout then return 'too late' end
        return {ok = first.ok, value = first.value:data()}
      end""")
    run.start()
    run.complete(1, {"n": 2})
    assert run.result == {"ok": True, "value": {"n": 2}}


def test_linking_to_oneself_is_refused_with_a_text() -> None:
    run = Run("return function() local v, e = process.link(process.pid()) return {v == nil, e:message()} end")
    run.start()
    assert run.result[0] is True
    assert "not supported in workflow context" in run.result[1]


def test_a_workflow_that_never_reads_its_events_runs_on_after_a_cancel() -> None:
    run = Run("return function() require('time').sleep('1h') return require('funcs').call('a:b', 5) end")
    run.start()
    assert run.cancel("enough") == []
    assert isinstance(run.fire(1)[0], events.ScheduleActivity)
    run.complete(2, "done")
    assert run.result == "done"


def test_a_call_that_is_taken_back_says_operation_canceled() -> None:
    run = Run("""return function()
      coroutine.spawn(function() process.events():receive() require('workflow').cancel_pending() end)
      local v, e = require('funcs').call('a:b')
      return {v == nil, e:kind(), e:message(), e:retryable()} end""")
    run.start()
    run.cancel()
    assert run.result == [True, "Canceled", "operation canceled", False]


def test_futures_and_channels_become_nil_as_arguments() -> None:
    run = Run("""local funcs = require('funcs')
      return function() funcs.async('a:c', funcs.async('a:b'), channel.new(), print, require('time').now(), 1) process.inbox():receive() end""")
    command = run.start()[1]
    assert isinstance(command, events.ScheduleActivity)
    assert payload.decode(command.args) == [None, None, None, None, 1]


def test_context_takes_text_keys_only_and_values_that_can_be_carried() -> None:
    run = Run("""return function() require('funcs').new():with_context{[1] = 'no', a = 1, b = 'x', c = true, d = {1}, e = print, f = 1.5, g = channel.new()}:call('a:b') end""")
    (command,) = run.start()
    assert isinstance(command, events.ScheduleActivity)
    assert command.options == {"ctx": {"a": 1, "b": "x", "c": True, "d": [1], "f": 1.5}}

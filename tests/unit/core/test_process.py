# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""The mailbox, messages to others, children, and the errors module's objects on the way."""

from __future__ import annotations

import pytest

from orchestration.core import events, payload
from tests.support.lua_runs import PID, Run, returned

OTHER = "{app:client@app:worker|other}"


def test_signals_before_listen_are_kept_and_delivered_in_order() -> None:
    run = Run("""return function()
      require('funcs').call('a:b')
      local a, inbox, got = process.listen('a'), nil, {}
      for i = 1, 2 do got[i] = a:receive() end
      inbox = process.inbox()
      got[3] = inbox:receive():payload():data()
      return got end""")
    run.start()
    run.signal("a", 1)
    run.signal("b", 2)
    run.signal("a", 3)
    run.complete(1)
    assert run.result == [1, 3, 2]


def test_a_listened_topic_never_goes_to_the_inbox() -> None:
    run = Run("""return function()
      local inbox, work, got = process.inbox(), process.listen('work'), {}
      for i = 1, 3 do
        local r = channel.select{ inbox:case_receive(), work:case_receive() }
        got[i] = r.channel == work and 'work ' .. r.value or 'inbox ' .. r.value:topic()
      end
      return got end""")
    run.start()
    run.signal("work", "1")
    run.signal("other", "2")
    run.signal("work", "3")
    assert run.result == ["work 1", "inbox other", "work 3"]


def test_raw_values_and_message_objects() -> None:
    run = Run("""return function()
      local ch, got = process.listen('t'), {}
      for i = 1, 3 do got[i] = {n = i, v = ch:receive()} end
      assert(process.listen('t', {message = true}) == ch)
      assert(process.listen('t') == ch)
      local m = ch:receive()
      got[4] = {m:topic(), m:from(), m:payload() == nil, tostring(m), type(m)}
      m = ch:receive()
      got[5] = {m:payload():data(), m.approved, m.nothing == nil, m:payload():get_format()}
      m = ch:receive()
      got[6] = {#m:payload(), m:payload()[2]:data()}
      return got end""")
    run.start()
    run.signal("t")
    run.signal("t", 5)
    run.signal("t", 5, None, 6)
    run.signal("t", sender=OTHER)
    run.signal("t", {"approved": True, "topic": "hidden"})
    run.signal("t", 1, 2)
    assert run.result == [
        {"n": 1}, {"n": 2, "v": 5}, {"n": 3, "v": [5, None, 6]},
        ["t", OTHER, True, "process.Message{topic=t}", "userdata"],
        [{"approved": True, "topic": "hidden"}, True, True, "lua/any"], [2, 2],
    ]  # fmt: skip


def test_after_unlisten_messages_go_to_the_inbox_in_order() -> None:
    run = Run("""return function()
      local t, got = process.listen('t'), {}
      require('funcs').call('a:b')
      assert(process.unlisten(t))
      local ok, err = process.unlisten(t)
      local v, open = t:receive()
      got[1] = {ok, err:message(), v, open}
      v, open = t:receive() got[2] = {tostring(v), open}
      local inbox = process.inbox()
      for i = 3, 5 do got[i] = inbox:receive():payload():data() end
      return got end""")
    run.start()
    for topic, value in (("t", 0), ("t", 1), ("x", 2), ("t", 3)):
        run.signal(topic, value)
    run.complete(1)
    assert run.result == [[False, "channel not found", 0, True], ["nil", False], 1, 2, 3]


def test_closing_a_subscribed_channel_loses_one_message() -> None:
    run = Run("""return function()
      local t = process.listen('t') t:close()
      require('funcs').call('a:b')
      return process.inbox():receive():payload():data() end""")
    run.start()
    run.signal("t", 1)
    run.signal("t", 2)
    run.complete(1)
    assert run.result == 2


def test_topics_are_checked() -> None:
    body = """local out = {}
      for i, t in ipairs{'', '@x'} do local v, e = process.listen(t) out[i] = e:kind() .. ' ' .. e:message() end return out"""
    assert returned(body) == ["Invalid topic cannot be empty", "Invalid cannot listen to @ topics"]


def test_own_channels_are_bound_to_topics() -> None:
    run = Run("""return function()
      local ch = channel.new(2)
      assert(subscribe('t', ch))
      local ok, err = subscribe('t', channel.new())
      local v = ch:receive()
      unsubscribe(ch)
      return {v, err:kind(), process.inbox():receive():payload():data()} end""")
    run.start()
    run.signal("t", 1)
    run.signal("t", 2)
    assert run.result == [1, "AlreadyExists", 2]


def test_a_cancel_is_an_event_that_waits_for_its_reader() -> None:
    run = Run("""return function()
      require('funcs').call('a:b')
      local e = process.events():receive()
      return {e.kind == process.event.CANCEL, e.at, e.from, e.reason} end""")
    run.start()
    run.cancel("enough", OTHER)
    at = run.now_ms // 1000
    run.complete(1)
    assert run.result == [True, at, OTHER, "enough"]


def test_a_message_to_oneself_is_delivered_without_a_command() -> None:
    run = Run("""return function()
      assert(process.send(process.pid(), 't', {a = 1}, nil))
      local m = process.inbox():receive()
      return {m:from(), #m:payload(), m.a} end""")
    assert len(run.start()) == 1
    assert run.result == [PID, 2, 1]


def test_a_message_to_another_waits_until_it_was_accepted() -> None:
    run = Run("return function(pid) local ok, err = process.send(pid, 't', 1, nil) return {ok, err and err:kind()} end")
    assert run.start(OTHER) == [events.SendSignal(1, OTHER, "t", payload.encode([1, None]))]
    run.done(1)
    assert run.result == [True]
    run = Run("return function(pid) return process.send(pid, 't') end")
    run.start(OTHER)
    run.done(1, ok=False, value=payload.encode_failure("workflow not found", kind="NotFound", retryable=False))
    assert run.failure["kind"] == "NotFound"


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        ("process.send('x')", "Invalid", "at least"),
        (f"process.send('{OTHER}', '@x')", "Invalid", "cannot send to @ topics"),
        ("process.send('nobody', 't')", "NotFound", "could not resolve 'nobody' as PID or registered name"),
        (
            "process.monitor('x')",
            "Invalid",
            "not supported in workflow context: child workflows are automatically monitored",
        ),
        ("process.link('x')", "Invalid", "not supported in workflow context"),
        ("process.unlink('x')", "Invalid", "process.unlink not supported in workflow context"),
        ("process.unmonitor('x')", "Invalid", "not supported in workflow context"),
        ("process.registry.register('x')", "Invalid", "not supported in workflow context"),
        ("process.spawn('a:b')", "Invalid", "spawn requires at least id and host arguments"),
        ("process.exec('a:b')", "Invalid", "exec requires id and host arguments"),
        ("process.exec('', 'h')", "Invalid", "process ID required"),
        ("process.exec('ab', 'h')", "Invalid", "invalid process ID format"),
        ("process.exec('a:b', '')", "Invalid", "host ID required"),
        ("process.set_options(5)", "Invalid", "options parameter must be a table"),
        ("process.set_options{trap_links = 5}", "Invalid", "trap_links must be a boolean"),
        ("process.set_options{foo = 5}", "Invalid", "option foo is not supported"),
    ],
)
def test_what_cannot_be_done_is_a_returned_error(call: str, kind: str, text: str) -> None:
    found = returned(f"local v, e = {call} return {{v == nil or v == false, e:kind(), e:message()}}")
    assert found[:2] == [True, kind]
    assert text in found[2]


def test_options_of_the_process() -> None:
    assert returned("process.set_options{trap_links = true} return process.get_options()") == {"trap_links": True}


def test_a_child_is_started_and_its_end_is_an_event() -> None:
    run = Run("""return function()
      local pid, err = process.spawn_monitored('app:child', 'app:worker', 1, nil)
      local e = process.events():receive()
      return {pid, e.kind, e.from, tostring(e.result.value), e.result.error:kind()} end""")
    (command,) = run.start()
    assert command == events.StartChild(1, "app:child", "app:worker", payload.encode([1, None]), {"monitor": True})
    assert run.apply(events.ChildStarted(run.tick(), 1, OTHER)) == []
    run.apply(events.ChildEnded(run.tick(), 1, OTHER, False, payload.encode_failure("x", kind="NotFound")))
    assert run.result == [OTHER, "pid.exit", OTHER, "nil", "NotFound"]


def test_a_child_that_cannot_start_is_a_returned_error() -> None:
    run = Run("return function() local pid, err = process.spawn('app:child', 'q') return {pid == nil, err:kind()} end")
    run.start()
    run.apply(events.ChildStartFailed(run.tick(), 1, payload.encode_failure("x", kind="AlreadyExists")))
    assert run.result == [True, "AlreadyExists"]


@pytest.mark.parametrize("call", ["process.exec('app:child', 'q', 5)", "require('workflow').exec('app:child', 5)"])
@pytest.mark.parametrize("ok", [True, False])
def test_exec_waits_for_the_end(call: str, ok: bool) -> None:
    run = Run(f"return function() local v, e = {call} return {{v or 'nil', e and e:message()}} end")
    run.start()
    run.apply(events.ChildStarted(run.tick(), 1, OTHER))
    value = payload.encode("value") if ok else payload.encode_failure("bad")
    run.apply(events.ChildEnded(run.tick(), 1, OTHER, ok, value))
    assert run.result == (["value"] if ok else ["nil", "bad"])


def test_the_spawn_builder_collects_what_a_start_needs() -> None:
    run = Run("""return function()
      local b = process.with_options{['workflow.id'] = 'x', ['temporal.workflow.run_timeout'] = '1m'}
      local c = b:with_context{k = 'v'}:with_message('hi', 1, nil):with_message('ho'):with_name('n')
        :with_options{['workflow.id_conflict_policy'] = 'WORKFLOW_ID_CONFLICT_POLICY_USE-EXISTING', ['workflow.memo'] = {}}
      return c:spawn('app:child', 'app:worker') end""")
    (command,) = run.start(ctx={"in": 1})
    assert isinstance(command, events.StartChild)
    assert command.options == {
        "id": "x", "run_timeout_ms": 60_000, "id_conflict_policy": "use_existing", "memo": [], "name": "n",
        "messages": [["hi", [1, None]], ["ho", []]], "ctx": {"in": 1, "k": "v"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("['workflow.id'] = 5", "workflow.id must be a string, got number"),
        ("['workflow.id'] = ''", "workflow.id cannot be empty"),
        ("['workflow.parent_close_policy'] = 'x'", 'workflow.parent_close_policy has invalid value "x"'),
        ("['workflow.memo'] = 5", "workflow.memo must be a table, got number"),
    ],
)
def test_wrong_start_options_are_returned_errors(options: str, text: str) -> None:
    body = (
        f"local v, e = process.with_options{{{options}}}:spawn('a:b', 'q') return {{v == nil, e:kind(), e:message()}}"
    )
    assert returned(body) == [True, "Invalid", text]


def test_cancel_and_terminate_are_commands() -> None:
    run = Run("return function(pid) process.cancel(pid, 'why') process.terminate(pid) return 1 end")
    assert run.start(OTHER) == [events.CancelExternal(1, OTHER, "why", False)]
    assert run.done(1) == [events.CancelExternal(2, OTHER, "", True)]
    run.done(2)
    assert run.result == 1


def test_upgrade_continues_as_a_new_run_and_does_not_return() -> None:
    run = Run("return function() pcall(process.upgrade, nil, 1, nil) error('not here') end")
    assert run.start() == [events.ContinueAsNew(None, payload.encode([1, None]), {})]
    assert run.machine.closed
    run = Run("return function() process.upgrade('ns:other') end")
    assert run.start(ctx={"a": 1}) == [events.ContinueAsNew("ns:other", payload.EMPTY_ARRAY, {"ctx": {"a": 1}})]


def test_error_objects() -> None:
    body = """
      local e = errors.new{message = 'x', kind = 'K', retryable = true, details = {a = 1, [1] = 2}}
      local b = errors.wrap(errors.wrap(e, 'c1'), 'c2')
      local d = e:details() d.a = 5
      local _, caught = pcall(error, e)
      return {type(e), b:message(), tostring(b), b:kind(), b:retryable(), b:details(), e:details(), 'p ' .. e, e .. e, e == e,
        #b:stack() > 0, caught == e, errors.is(e, 'K'), errors.is('K', 'K'), string.find(e, 'x', 1, true), errors.new('t'):kind()}"""
    assert returned(body) == [
        "userdata", "c1: x", "c1: x", "K", True, {"a": 1}, {"a": 1}, "p x", "xx", True, True, True, True, False, 1, "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text"),
    [("errors.new{}", "message field is required"), ("errors.new{message = 5}", "message must be a string"), ("errors.new()", "bad argument"), ("errors.wrap(5, 'x')", "bad argument"), ("errors.wrap('x', 5)", "bad argument")],
)  # fmt: skip
def test_wrong_uses_of_errors_raise(code: str, text: str) -> None:
    assert text in returned(f"local ok, e = pcall(function() {code} end) return e")


@pytest.mark.parametrize("verb", ["spawn", "exec"])
def test_word_of_a_childs_start_that_comes_twice_is_not_its_end(verb: str) -> None:
    """Whoever starts the child may die before noting that it has told of it, and another tells again, days later."""
    body = {
        "spawn": 'process.spawn("app:c", "w") return process.events():receive().result.value',
        "exec": 'return process.exec("app:c", "w")',
    }
    run = Run(f"return function() {body[verb]} end")
    run.start()
    for _ in range(3):
        run.apply(events.ChildStarted(run.tick(), 1, OTHER))
    assert not run.machine.closed
    run.apply(events.ChildEnded(run.tick(), 1, OTHER, True, payload.encode("done")))
    assert run.result == "done"
    run.replayed()

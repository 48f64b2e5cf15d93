# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Records the stored histories that do not exist yet; see :mod:`tests.replay.histories`."""

from __future__ import annotations

from pathlib import Path

from orchestration.core import events, payload
from tests.replay import histories
from tests.support.lua_runs import Run, bundle

CONFIG = Path(__file__).parents[2] / "config" / "workflows"
RELEASE = "1"
OTHER = "{app:client@app:worker|other}"

EVERYTHING = """local funcs, time, uuid, workflow, ctx, json = require("funcs"), require("time"), require("uuid"), require("workflow"), require("ctx"), require("json")

return function(input)
  local seen = {}
  local function log(...) for i = 1, select("#", ...) do seen[#seen + 1] = tostring((select(i, ...))) end end

  log(uuid.v4(), uuid.v7(), math.random(1, 1000000), math.random(), time.now():unix_nano(), os.time())
  log(workflow.version("change", -1, 3), workflow.history_length(), ctx.get("tenant"))
  workflow.attrs{ search = { state = "begun", n = 1 }, memo = { note = "x" } }

  local call = funcs.new():with_context{ extra = true }:with_options{
    ["activity.start_to_close_timeout"] = "90s", ["temporal.activity.retry_policy"] = { maximum_attempts = 3 },
  }
  local value, err = call:call("app:first", input, nil, { 1, "two", 3.5, false, { deep = { "\\xff\\0" } } })
  log(value, err)
  value, err = funcs.call("app:second")
  log(value, err:kind(), err:retryable(), json.encode(err:details()))

  local futures = { funcs.async("app:a", 1), funcs.async("app:b", 2), funcs.async("app:c", 3) }
  local timeout = time.after("5s")
  local r = channel.select{ futures[1]:response():case_receive(), futures[2]:response():case_receive(), timeout:case_receive() }
  log(r.channel == futures[2]:response(), r.value:data())
  futures[3]:cancel()
  r = channel.select{ futures[1]:response():case_receive(), timeout:case_receive() }
  log(r.channel == timeout)

  local done = channel.new()
  for i = 1, 3 do
    coroutine.spawn(function()
      time.sleep(i .. "s")
      log("worker", i, (funcs.call("app:work", i)))
      done:send(i)
    end)
  end
  for _ = 1, 3 do log("done", (done:receive())) end

  local inbox, topic, events = process.inbox(), process.listen("topic"), process.events()
  process.send(process.pid(), "self", "hello")
  log(inbox:receive():payload():data())
  log(topic:receive(), inbox:receive().approved, events:receive().reason)
  log(process.send("%OTHER%", "news", 1), select(2, process.send("%OTHER%", "more")):kind())

  local pid = process.with_options{ ["workflow.id"] = "child-1" }:with_message("hi", 1):spawn("app:child", "orders", input)
  local exit = events:receive()
  log(pid == exit.from, exit.result.error:message())
  log(process.exec("app:child", "orders"))
  process.cancel("%OTHER%", "enough")

  local t = {}
  for i = 1, 20 do t["k" .. math.random(1000)] = i t[i / 4] = i t[i % 3 == 0] = i end
  for k, v in pairs(t) do log(k, v) end
  log(pcall(error, errors.new{ message = "m", kind = "K", details = { a = 1 } }))
  return { seen = seen, empty = {}, given = input, price = 1.0, big = math.maxinteger }
end
""".replace("%OTHER%", OTHER)


UPDATES = """local workflow, funcs, time, uuid = require("workflow"), require("funcs"), require("time"), require("uuid")

return function(limit)
  local items, total, done = {}, 0, false
  local saga = workflow.saga()
  workflow.query("items", function() return items end)
  workflow.update("add", function(item, price)
    items[#items + 1] = item
    total = total + price
    saga:add("release " .. item, funcs.call, "app:release", item)
    return (funcs.call("app:reserve", item))
  end, { validate = function(_, price) if price < 0 then error("a price is not negative") end end })
  workflow.update("finish", function() done = true return total end)
  workflow.update("fail", function(text) return nil, errors.new{ message = text, kind = "Given" } end)

  local token = workflow.side_effect(function() return { uuid.v4(), math.random(1000) } end)
  local ok, err = pcall(workflow.side_effect, function() error(errors.new{ message = "no", kind = "Never" }) end)
  local none, problem = workflow.side_effect(function() return nil, "nothing" end)
  local early = workflow.wait(function() return done end, "10s")
  local late = workflow.wait(function() return done or total > limit end)
  local undone, failures = true, nil
  if total > limit then undone, failures = saga:compensate() end
  return {
    token = token, err = { ok, err:kind(), tostring(none), problem:message() }, waits = { early, late }, items = items,
    undone = undone, failed = failures and failures[1].name, random = math.random(1000), id = uuid.v4(),
    line = workflow.now_line(),
  }
end
"""


def updates() -> Run:
    """A basket that others fill, until it is too dear and is undone."""
    run = Run(bundle(UPDATES, ("funcs", "time", "uuid", "workflow"), "updates.lua"))
    run.start(100)

    def update(update_id: str, name: str, *args: object) -> None:
        run.apply(events.Update(run.tick(), update_id, name, payload.encode(list(args)), OTHER))

    update("u-1", "add", "chair", 40)
    update("u-2", "add", "table", 50)
    update("u-3", "fail", "as wished")
    run.complete(6, "r-2")
    run.complete(5, "r-1")
    run.fire(4, 10_000)
    update("u-4", "add", "lamp", 60)
    for _ in range(3):
        command = run.last[-1]
        assert isinstance(command, events.ScheduleActivity)
        if payload.decode(command.args) == ["table"]:
            run.fail(command.seq, "stuck", "Busy", retryable=False)
        else:
            run.complete(command.seq)
    assert run.result["undone"] is False
    return run


def everything() -> Run:
    """One run through every command and every input."""
    run = Run(bundle(EVERYTHING, ("funcs", "time", "uuid", "workflow", "ctx", "json"), "everything.lua"))
    run.start({"order": 1, "none": {}, "list": []}, ctx={"tenant": "t-1"})
    run.complete(3, {"value": 5})
    run.fail(4, "gone", "NotFound", retryable=False, details={"id": 1})
    run.complete(6, "b")
    run.fire(8, 5000)
    for seq in (9, 10, 11):
        run.fire(seq, 1000)
        (command,) = run.last
        assert isinstance(command, events.ScheduleActivity)
        run.complete(command.seq, f"w{command.seq}")
    run.signal("topic", "t-value")
    run.signal("approve", {"approved": True}, sender=OTHER)
    run.cancel("please", OTHER)
    run.done(15)
    run.done(16, ok=False, value=payload.encode_failure("closed", kind="NotFound", retryable=False))
    run.apply(events.ChildStarted(run.tick(), 17, "{c@w|child-1}"))
    run.apply(events.ChildEnded(run.tick(), 17, "{c@w|child-1}", False, payload.encode_failure("bad", kind="X")))
    run.apply(events.ChildStarted(run.tick(), 18, "{c@w|child-2}"))
    run.apply(events.ChildEnded(run.tick(), 18, "{c@w|child-2}", True, payload.encode("fine")))
    run.done(19)
    assert run.result["seen"]
    return run


def order() -> Run:
    """An order whose payment fails a day later."""
    run = Run(bundle((CONFIG / "order_processor.lua").read_text(), ("funcs", "time"), "order_processor.lua"))
    run.start({"id": "o-1", "amount": 500})
    run.complete(1, {"id": "p-1"})
    run.fire(2, 86_400_000)
    run.complete(3, "failed")
    run.complete(4, {"id": "r-1"})
    assert run.result["status"] == "refunded"
    return run


def approval() -> Run:
    """A reminder, then an answer."""
    run = Run(bundle((CONFIG / "approval.lua").read_text(), ("funcs", "time"), "approval.lua"))
    run.start({"order_id": "o-1", "remind_after": "1h"})
    run.complete(1)
    run.fire(2, 3_600_000)
    run.complete(3)
    run.signal("decision", {"approved": True, "by": "ana"})
    run.complete(5)
    assert run.result["status"] == "fulfilled"
    return run


CASES = {"everything": everything, "order_processor": order, "approval": approval, "updates": updates}


def main() -> None:
    """Write what is missing."""
    for name, case in CASES.items():
        path = histories.FOLDER / name / f"{RELEASE}-first.json"
        if not path.exists():
            run = case()
            histories.write(path, run.bundle, run.history)


if __name__ == "__main__":
    main()

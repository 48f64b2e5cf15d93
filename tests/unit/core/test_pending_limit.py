"""A workflow that asks for more than can be pending is told so, and may go on when some has come back."""

from __future__ import annotations

import pytest

from tests.support.lua_runs import Run

MOST = 10_000

CROWDED = """
local funcs, time, workflow = require("funcs"), require("time"), require("workflow")
return function()
  local first = funcs.async("a:b")
  for i = 2, {most} do assert(funcs.async("a:b")) end
  local answers = {}
  local function try(what, value, err)
    answers[what] = value == nil and err and { err:kind(), err:retryable() } or "done"
  end
  try("async", funcs.async("a:b"))
  try("call", funcs.call("a:b"))
  try("sleep", time.sleep("1s"))
  try("after", time.after("1s"))
  try("timer", time.timer("1s"))
  try("ticker", time.ticker("1s"))
  try("spawn", process.spawn("a:w", ""))
  try("exec", process.exec("a:w", "a:host"))
  try("wait", workflow.wait(function() return false end, "1s"))
  try("send", process.send("{app:client@app:worker|other}", "topic"))
  answers.limit = select(2, funcs.async("a:b")):message()
  first:channel():receive()
  answers.again = funcs.async("a:b") ~= nil
  return answers
end
"""


def test_more_than_ten_thousand_pending_commands_are_refused_with_an_error_that_code_can_read() -> None:
    run = Run(CROWDED.replace("{most}", str(MOST)))
    commands = run.start()
    assert len(commands) == MOST
    assert run.machine.usage().pending == MOST
    run.complete(1)
    answers = run.result
    refused = {name: answer for name, answer in answers.items() if name not in ("limit", "again")}
    assert all(answer == ["RateLimited", True] for answer in refused.values()), refused
    assert len(refused) == 10
    assert answers["limit"] == "10000 commands are pending, the most there can be: wait for some"
    assert answers["again"] is True


def test_usage_counts_events_bytes_and_what_waits() -> None:
    run = Run("return function() local f = require('funcs').async('a:b') process.listen('go'):receive() return 1 end")
    run.start()
    usage = run.machine.usage()
    assert (usage.events, usage.bytes, usage.pending) == (2, sum(map(len, run.history)), 1)
    run.complete(1)
    assert run.machine.usage().pending == 0


@pytest.mark.parametrize("mode", ["function"])
def test_functions_have_no_such_limit(mode: str) -> None:
    from orchestration.core.machine import Mode

    run = Run("return function() for i = 1, 10001 do assert(require('funcs').async('a:b')) end return true end",
              mode=Mode.FUNCTION)  # fmt: skip
    run.start()
    assert run.result is True

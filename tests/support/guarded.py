# ruff: noqa: E501 - Lua sources read better on one line
"""Definitions for tests of identities and permissions: policies, and code that asks, calls and starts."""

from __future__ import annotations

from typing import Any

from orchestration.client import Actor
from tests.support.projects import ALL_MODULES, Project

project = Project()
SECURITY = (*ALL_MODULES, "security")


def policy(name: str, effect: str, actions: Any, resources: Any = "*", **fields: Any) -> str:
    conditions = fields.pop("conditions", [])
    rule = {"actions": actions, "resources": resources, "effect": effect, "conditions": conditions}
    return project.entry(name, "security.policy", policy=rule, **fields)


everything = policy("everything", "allow", "*", groups=["staff"])
admins = policy("admins", "allow", ["funcs.call"], conditions=[
    {"field": "actor.meta.role", "operator": "eq", "value": "admin"}])  # fmt: skip
no_secrets = policy("no_secrets", "deny", "*", ["app:secret", "*secret*"], groups=["staff"])
policy("optional", "allow", ["process.options"], "options")
policy("makers", "allow", ["security.actor.create", "security.scope.create"])
policy("openers", "allow", ["security.token_store.get", "security.*.create", "security.policy.get"], conditions=[
    {"field": "action", "operator": "ne", "value": "security.token.create"}])  # fmt: skip
spawners = policy("spawners", "allow", ["process.spawn", "process.send"])
project.entry(
    "owners", "security.policy.expr",
    policy={"actions": "doc.*", "resources": "*", "effect": "allow", "expression": "meta.owner == actor.id"},
)  # fmt: skip

who = project.function(
    "who",
    """
    local security = require("security")
    local function main()
      local actor, scope = security.actor(), security.scope()
      local ids = {}
      for i, policy in ipairs(scope and scope:policies() or {}) do ids[i] = policy:id() end
      return {
        id = actor and actor:id(), meta = actor and actor:meta(), scoped = scope ~= nil,
        ids = table.concat(ids, " "), asked = require("ctx").get("asked"),
      }
    end
    return main
    """,
    modules=SECURITY,
)
project.function("secret", "return function() return 42 end")
deep = project.function("deep", "return function() return (require('funcs').call('app:who')) end")
child = project.workflow("child", "return function() return (require('funcs').call('app:who')) end")
lua = project.function(
    "lua",
    """
    local security = require("security")
    local funcs = require("funcs")
    local function text(value, problem)
      return problem and { problem:kind(), problem:message() } or value
    end
    local function kind_and_text(ok, problem) return { ok, ok and "" or problem:kind(), ok and "" or problem:message() } end
    local cases = {
      call = function(target) return text(funcs.call(target)) end,
      async = function(target) return text(funcs.async(target)) end,
      as = function(id, policies, target)
        local scope = security.new_scope()
        for _, name in ipairs(policies) do scope = scope:with(assert(security.policy(name))) end
        local named, problem = funcs.new():with_actor(security.new_actor(id, { role = "guest" }))
        if not named then return text(nil, problem) end
        return text(named:with_scope(scope):call(target))
      end,
      context = function() return text(funcs.new():with_context({ asked = "yes" })) end,
      can = function(action, resource, meta) return security.can(action, resource, meta) end,
      new_actor = function() return kind_and_text(pcall(security.new_actor, "x")) end,
      new_scope = function() return kind_and_text(pcall(security.new_scope)) end,
      policy = function(id) return text(security.policy(id)) end,
      group = function(id)
        local scope, problem = security.named_scope(id)
        if not scope then return text(nil, problem) end
        local ids = {}
        for i, policy in ipairs(scope:policies()) do ids[i] = policy:id() end
        return ids
      end,
      scopes = function()
        local one = security.policy("app:everything")
        local empty = security.new_scope()
        local full = empty:with(one):with(one)
        local actor = security.new_actor("ann", { role = "admin" })
        return {
          #empty:policies(), #full:policies(), full:contains(one), full:contains("app:everything"), empty:contains(one),
          #full:without(one):policies(), #full:without("app:other"):policies(), empty:evaluate(actor, "a", "b"),
          full:evaluate(actor, "a", "b"), full:with(security.policy("app:no_secrets")):evaluate(actor, "a", "app:secret"),
          one:evaluate(actor, "a", "b"), security.policy("app:owners"):evaluate(actor, "doc.read", "d", { owner = "ann" }),
          security.policy("app:owners"):evaluate(actor, "doc.read", "d"), type(actor), tostring(actor),
        }
      end,
      hand = function()
        local actor = security.new_actor("ann")
        return { (funcs.call("app:echo", actor, security.new_scope())) }
      end,
      build = function(with)
        return kind_and_text(pcall(function()
          local builder = process.with_options({})
          if with == "actor" then builder = builder:with_actor(security.new_actor("x")) end
          return builder:spawn("app:child", "")
        end))
      end,
      spawn = function(host) return text(process.spawn("app:child", host)) end,
      exec = function() return text(process.exec("app:child", "app:orders")) end,
      exec_as = function(id)
        return text(process.with_options({}):with_actor(security.new_actor(id)):exec("app:child", "orders"))
      end,
      send = function(pid) return text(process.send(pid, "hello")) end,
      cancel = function(pid) return text(process.cancel(pid)) end,
      monitor = function(pid) return text(process.monitor(pid)) end,
      refuses = function(method) return select(2, pcall(function() funcs.new()[method](funcs.new(), { id = "ann" }) end)) end,
    }
    return function(case, ...) return cases[case](...) end
    """,
    modules=SECURITY,
)
flow = project.workflow(
    "flow",
    """
    local funcs = require("funcs")
    local function text(value, problem)
      return problem and { problem:kind(), problem:message() } or value
    end
    local cases = {
      call = function(target) return text(funcs.call(target)) end,
      future = function(target)
        local future, problem = funcs.async(target)
        future:channel():receive()
        local result, failure = future:result()
        return text(result and result:data(), failure)
      end,
      context = function(target) return text(funcs.new():with_context({ asked = "yes" }):call(target)) end,
      exec = function() return text(require("workflow").exec("app:child")) end,
      process_exec = function(host) return text(process.exec("app:child", host)) end,
      spawn = function(host)
        local pid, problem = process.spawn("app:child", host)
        if not pid then return text(pid, problem) end
        return process.events():receive().result.value
      end,
      monitored = function() return text(process.spawn_monitored("app:child", "")) end,
      build = function(with)
        local ok, problem = pcall(function()
          local builder = process.with_options({})
          if with == "context" then builder = builder:with_context({ a = 1 }) end
          return builder:spawn("app:child", "")
        end)
        return { ok, ok and "started" or problem:kind(), ok and "" or problem:message() }
      end,
      send = function(pid) return text(process.send(pid, "hello", 1)) end,
      meet = function(id, policy)
        local builder = process.with_options({ ["workflow.id"] = id, ["workflow.id_conflict_policy"] = policy })
        if policy == "use_existing" then builder = builder:with_message("hello") end
        local ok, pid, problem = pcall(builder.spawn, builder, "app:child", "")
        return text(ok and pid, ok and problem or not ok and pid or nil)
      end,
      cancel = function(pid) return text(process.cancel(pid)) end,
      terminate = function(pid) return text(process.terminate(pid)) end,
      again = function(left)
        if left > 0 then process.upgrade(nil, "again", left - 1) end
        return text(funcs.call("app:who"))
      end,
      sleep = function() while true do process.inbox():receive() end end,
      actor = function() return select(2, pcall(function() funcs.new():with_actor("ann") end)) end,
    }
    return function(case, ...) return cases[case](...) end
    """,
)
project.function("echo", "return function(...) return select('#', ...) .. tostring(...) end")


ANN = Actor("ann", {"role": "admin"})

project.entry("sessions", "store.memory")
project.entry("tokens", "security.token_store", store="sessions", default_expiration="1h", token_key="k" * 32)
project.entry("plain_tokens", "security.token_store", store="sessions", token_length=16)
project.entry("more_tokens", "security.token_store", store="sessions", token_length=16)
tokens = project.function(
    "tokens_of",
    """
    local security = require("security")
    local store = require("store")
    local function text(value, problem)
      return problem and { problem:kind(), problem:message() } or value
    end
    local function shown(actor, scope, problem)
      if problem then return { problem:kind(), problem:message() } end
      local ids = {}
      for i, policy in ipairs(scope:policies()) do ids[i] = policy:id() end
      return { id = actor:id(), role = actor:meta().role, ids = table.concat(ids, " ") }
    end
    local function make(name, options)
      local scope = security.new_scope():with(security.policy("app:everything"))
      return assert(security.token_store(name)):create(security.new_actor("ann", { role = "admin" }), scope, options)
    end
    local cases = {
      create = function(name, options) return text(make(name, options)) end,
      validate = function(name, token) return shown(security.token_store(name):validate(token)) end,
      revoke = function(name, token) return text(security.token_store(name):revoke(token)) end,
      open = function(name)
        local found, problem = security.token_store(name)
        return problem and text(nil, problem) or tostring(found)
      end,
      closed = function(name)
        local found = security.token_store(name)
        local ok = found:close()
        return { ok, tostring(found), select(2, found:revoke("x")):message(), select(3, found:validate("x")):kind() }
      end,
      call_as = function(name, token)
        local actor, scope = security.token_store(name):validate(token)
        return require("funcs").new():with_actor(actor):with_scope(scope):call("app:who")
      end,
      stored = function()
        local found, items = store.get("app:sessions"), {}
        for i, item in ipairs(found:list().items) do items[i] = item end
        return items
      end,
      forge = function(from, to)
        local found = store.get("app:sessions")
        return found:put(to, found:get(from))
      end,
      wrong = function()
        local found = security.token_store("app:tokens")
        return {
          select(2, pcall(found.create, found, "ann", security.new_scope())),
          select(2, pcall(found.create, found, security.new_actor("a"), {})),
          select(2, pcall(found.validate, found, 5)),
        }
      end,
    }
    return function(case, ...) return cases[case](...) end
    """,
    modules=(*SECURITY, "store"),
)

# Processes ------------------------------------------------------------------------------------------------------------

host = project.entry("host", "process.host")
policy("senders", "allow", ["process.send", "process.monitor", "process.registry.*"], ["{*@app:host|*}", "guest*"])
policy("hirers", "allow", ["process.spawn*", "process.options"])
policy("no_foreign", "deny", "process.registry.foreign")
project.lua(
    "clerk",
    "process.lua",
    """
    local security = require("security")
    return function(name)
      if name then assert(process.registry.register(name)) end
      local inbox = process.inbox()
      while true do
        local message = inbox:receive()
        local actor, scope = security.actor(), security.scope()
        local found = { id = actor and actor:id(), scoped = scope ~= nil, called = require("funcs").call("app:who") }
        if message:topic() == "end" then return found end
      end
    end
    """,
    modules=SECURITY,
)
manager = project.function(
    "manager",
    """
    local function text(value, problem)
      return problem and { problem:kind(), problem:message() } or value
    end
    local cases = {
      hire = function(...) return text(process.spawn("app:clerk", "app:host", ...)) end,
      ask = function()
        local events = process.events()
        local pid = assert(process.spawn_monitored("app:clerk", "app:host"))
        assert(process.send(pid, "end"))
        return events:receive().result.value
      end,
      exec = function() return text(process.exec("app:clerk", "app:host")) end,
      meet = function(name, verb, message)
        local builder = process.with_options({}):with_name(name)
        if message then builder = builder:with_message("hello") end
        local ok, pid, problem = pcall(builder[verb], builder, "app:clerk", "app:host")
        return text(ok and pid, ok and problem or not ok and pid or nil)
      end,
      send = function(pid, topic) return text(process.send(pid, topic or "hello")) end,
      monitor = function(pid) return text(process.monitor(pid)) end,
      link = function(pid) return text(process.link(pid)) end,
      terminate = function(pid) return text(process.terminate(pid)) end,
      register = function(name, pid) return text(process.registry.register(name, pid)) end,
      unregister = function(name) return text(process.registry.unregister(name)) end,
      own = function()
        process.inbox()
        local ok, problem = process.registry.register("guest-own")
        return problem and text(ok, problem) or process.registry.unregister("guest-own")
      end,
      build = function(with)
        local ok, problem = pcall(function() return process.with_options({}):spawn("app:clerk", "app:host") end)
        return { ok, ok and "" or problem:kind(), ok and "" or problem:message() }
      end,
    }
    return function(case, ...) return cases[case](...) end
    """,
    modules=SECURITY,
)

# ruff: noqa: E501 - Lua sources read better on one line
"""The module ``contract``: functions called through contracts that bindings implement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestration.core.identity import Identity
from orchestration.core.lua.host import HostError
from orchestration.errors import ApplicationError
from orchestration.modules import contract as module
from orchestration.modules.caller import Caller
from orchestration.registry import Registry, load_registry
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project

project = Project()
SCHEMA = {"format": "application/schema+json", "definition": {"type": "number"}}
project.entry("pay", "contract.definition", methods=[
    {"name": "charge", "description": "takes money", "input_schemas": [SCHEMA], "output_schemas": [SCHEMA]},
    {"name": "refund"}, {"name": "wait_async"}, {"name": "later"},
])  # fmt: skip
project.entry("log", "contract.definition", methods=[{"name": "note"}, {"name": "refund"}])
project.entry("lonely", "contract.definition", methods=[{"name": "x"}])
project.entry("card", "contract.binding", contracts=[
    {"contract": "pay", "methods": {"charge": "charge", "refund": "refund", "wait_async": "charge"}, "default": True},
    {"contract": "log", "methods": {"note": "whole", "refund": "whole"}},
])  # fmt: skip
project.entry("cash", "contract.binding", contracts=[
    {"contract": "pay", "methods": {"charge": "whole"}, "context_required": ["till", "shop"]},
])  # fmt: skip
project.entry("strict", "contract.binding", contracts=[
    {"contract": "log", "methods": {"note": "whole"}, "default": True, "context_required": ["user"]},
])  # fmt: skip
project.entry("staff", "security.policy", policy={
    "actions": ["contract.*", "funcs.call"], "resources": ["app:pay", "app:card", "app:charge"], "effect": "allow",
})  # fmt: skip
project.function("charge", "return function(n) return n * 2 end", modules=())
project.function("refund", "return function(n) return nil, errors.new({ message = 'no', kind = 'Conflict', retryable = true }) end", modules=())
project.function("whole", "local ctx = require('ctx') return function() return ctx.all() end", modules=("ctx",))
project.function("who", "return function() return require('security').actor() ~= nil end", modules=("security",))


def function(name: str, body: str) -> None:
    source = f"local contract, funcs = require('contract'), require('funcs')\nreturn function(...)\n{body}\nend"
    project.function(name, source, modules=("contract", "funcs", "security"))


function("calls", """
    local pay = assert(contract.open("app:card"))
    local value = assert(pay:charge(21))
    local none, problem = pay:refund(1)
    return { value, none == nil, problem:kind(), problem:retryable(), pay:wait_async(2) }
""")
function("async", """
    local pay = assert(contract.open("app:card"))
    local first, second = assert(pay:charge_async(1)), assert(pay:charge_async(2))
    local failing = assert(pay:refund_async(1))
    failing:channel():receive()
    return { first:channel():receive():data(), second:channel():receive():data(), failing:error():kind() }
""")
function("facts", """
    local pay = assert(contract.get("app:pay"))
    local names = {}
    for i, method in ipairs(pay:methods()) do names[i] = method.name end
    return { id = pay:id(), names = names, charge = pay:method("charge"), text = tostring(pay), implementations = pay:implementations(),
        same = contract.find_implementations("app:log") }
""")
function("is", """
    local both, log = assert(contract.open("app:card")), assert(contract.open("app:strict?user=a"))
    return { contract.is(both, "app:pay"), contract.is(both, "app:log"), contract.is(log, "app:pay"), contract.is({}, "app:pay"),
        contract.is(nil, "app:pay"), contract.is("x", "app:pay"), tostring(both), type(both) }
""")
function("chosen", """
    local log, pay = assert(contract.get("app:log")):open("app:card"), assert(contract.get("app:pay")):open()
    local _, problem = pay:refund(1)
    return { type(log:refund(1)), problem:kind(), pay:charge(1), contract.is(log, "app:pay") }
""")
function("context", """
    local till = assert(contract.get("app:pay")):with_context({ till = 1, given = "contract", query = "contract", ctx = "contract" })
    local inst = assert(till:open("app:cash?shop=a%20b&query=q&ctx=q&empty=", { ctx = { deep = true } }))
    return inst:charge(1)
""")
function("inherits", "return funcs.new():with_context({ till = 1, shop = 2 }):call('app:inner')")
function("inner", "local inst, problem = contract.open('app:cash') if problem then return nil, problem end return inst:charge()")
function("copies", """
    local base = assert(contract.get("app:log"))
    local a, b = base:with_context({ user = "a" }), base:with_context({ user = "b" })
    return { assert(a:open()):note().user, assert(b:open()):note().user, select(2, base:open()):kind() }
""")
function("opens", "local inst, problem = contract.open(...) return inst and true or { problem:kind(), problem:message() }")
function("opens_of", """
    local id, binding, ctx = ...
    local inst, problem = assert(contract.get(id)):open(binding, ctx)
    return inst and true or { problem:kind(), problem:message() }
""")
function("gets", "local found, problem = contract[...](select(2, ...)) return found and true or { problem:kind(), problem:message(), problem:retryable() }")
function("method", "local found, problem = assert(contract.get('app:pay')):method(...) return found and true or problem:kind()")
function("wrong_call", "local value, problem = assert(contract.open('app:card'))[...](contract.open('app:card'), 1) return { value == nil, problem:kind(), problem:message() }")
function("raises", """
    local pay, inst = assert(contract.get("app:pay")), assert(contract.open("app:card"))
    local found = {}
    for i, call in ipairs {
        function() return contract.get() end, function() return contract.open(5) end, function() return contract.open("a:b", 5) end,
        function() return contract.is(inst) end, function() return pay:open(5) end, function() return pay:with_context("x") end,
        function() return pay:with_actor(nil) end, function() return pay:with_scope(nil) end, function() return pay:method() end,
        function() return inst.charge(5) end, function() return pay.id() end, function() inst.charge = 1 end,
    } do local ok, problem = pcall(call) found[i] = ok or tostring(problem):gsub("^.-:%d+: ", "") end
    return found
""")
function("travels", "return funcs.call('app:gone', contract.get('app:pay'), contract.open('app:card'))")
project.function("gone", "return function(...) return { select(1, ...) == nil, select(2, ...) == nil } end", modules=())
function("acts", """
    local actor, scope = assert(require("security").new_actor("bob")), assert(require("security").new_scope())
    return { assert(contract.get("app:person")):open():who(), assert(contract.get("app:person")):with_actor(actor):open():who(),
        select(2, assert(contract.get("app:person")):with_actor(actor):with_scope(scope):open()) == nil }
""")
project.entry("person", "contract.definition", methods=[{"name": "who"}])
project.entry("anyone", "contract.binding", contracts=[{"contract": "person", "methods": {"who": "who"}, "default": True}])


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@pytest.fixture
def env(definitions: Registry) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(registry=definitions) as env:
        yield env


def run(env: WorkflowEnvironment, target: str, *args: Any) -> Any:
    return env.client.call(f"app:{target}", *args, timeout=20)


def test_methods_are_calls_of_functions(env: WorkflowEnvironment) -> None:
    assert run(env, "calls") == [42, True, "Conflict", True, 4]


def test_methods_with_async_give_futures(env: WorkflowEnvironment) -> None:
    assert run(env, "async") == [2, 4, "Conflict"]


def test_what_a_contract_says_of_itself(env: WorkflowEnvironment) -> None:
    assert run(env, "facts") == {
        "id": "app:pay", "names": ["charge", "refund", "wait_async", "later"], "text": "contract.Contract{app:pay}",
        "charge": {"name": "charge", "description": "takes money", "input_schemas": [SCHEMA], "output_schemas": [SCHEMA]},
        "implementations": ["app:card", "app:cash"], "same": ["app:card", "app:strict"],
    }  # fmt: skip
    assert run(env, "method", "none") == "NotFound"


def test_is(env: WorkflowEnvironment) -> None:
    assert run(env, "is") == [True, True, False, False, False, False, "contract.Instance{app:card}", "userdata"]


def test_the_method_of_the_contract_that_was_asked_for_goes_first(env: WorkflowEnvironment) -> None:
    assert run(env, "chosen") == ["table", "Conflict", 2, True]


def test_context_of_the_contract_the_binding_id_and_the_call(env: WorkflowEnvironment) -> None:
    assert run(env, "context") == {
        "till": 1, "given": "contract", "shop": "a b", "query": "q", "empty": "", "ctx": {"deep": True},
    }  # fmt: skip


def test_context_that_is_inherited_counts(env: WorkflowEnvironment) -> None:
    assert run(env, "inherits") == {"till": 1, "shop": 2}
    with pytest.raises(ApplicationError, match="needs context values that are missing: shop, till"):
        run(env, "inner")


def test_each_with_makes_another_contract(env: WorkflowEnvironment) -> None:
    assert run(env, "copies") == ["a", "b", "Invalid"]


def test_an_actor_of_ones_own(env: WorkflowEnvironment) -> None:
    assert run(env, "acts")[:2] == [False, True]


@pytest.mark.parametrize(
    ("args", "kind", "message"),
    [
        (("",), "Invalid", "binding ID required"),
        (("app:none",), "NotFound", "there is no binding app:none"),
        (("app:pay",), "NotFound", "app:pay is no binding: it is a contract.definition"),
        (("app:cash",), "Invalid", "the binding app:cash needs context values that are missing: shop, till"),
        (("app:cash?till=1",), "Invalid", "the binding app:cash needs context values that are missing: shop"),
        (("app:cash?till",), "Invalid", "what follows '?' in the id of a binding must be key=value&..."),
        (("app:cash?till=%ff",), "Invalid", "what follows '?' in the id of a binding must be key=value&..."),
    ],
)
def test_a_binding_that_cannot_be_opened(env: WorkflowEnvironment, args: Any, kind: str, message: str) -> None:
    assert run(env, "opens", *args) == [kind, message]


def test_required_context_may_come_with_the_call(env: WorkflowEnvironment) -> None:
    assert run(env, "opens", "app:cash?till=1", {"shop": 2}) is True
    assert run(env, "opens", "app:card?") is True


@pytest.mark.parametrize(
    ("args", "kind", "message"),
    [
        (("app:lonely", None), "NotFound", "the contract app:lonely has no default binding: name one"),
        (("app:log", "app:cash", {"till": 1, "shop": 1}), "Invalid", "the binding app:cash does not implement app:log"),
        (("app:log", None), "Invalid", "the binding app:strict needs context values that are missing: user"),
        (("app:log", ""), "Invalid", "binding ID required"),
    ],
)
def test_a_binding_of_a_contract_that_cannot_be_opened(env: WorkflowEnvironment, args: Any, kind: str, message: str) -> None:
    assert run(env, "opens_of", *args) == [kind, message]


@pytest.mark.parametrize("name", ["get", "find_implementations"])
def test_a_contract_that_is_none(env: WorkflowEnvironment, name: str) -> None:
    assert run(env, "gets", name, "app:none") == ["NotFound", "there is no contract app:none", False]
    assert run(env, "gets", name, "app:card") == ["NotFound", "app:card is no contract: it is a contract.binding", False]
    assert run(env, "gets", name, "") == ["Invalid", "contract ID required", False]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("later", "the binding app:card has no function for the method later"),
        ("later_async", "the binding app:card has no function for the method later_async"),
        ("bill", "no contract of the binding app:card has a method bill"),
        ("_async", "no contract of the binding app:card has a method _async"),
    ],
)
def test_a_method_that_is_not_there(env: WorkflowEnvironment, method: str, message: str) -> None:
    assert run(env, "wrong_call", method) == [True, "NotFound", message]


def test_wrong_arguments_are_raised(env: WorkflowEnvironment) -> None:
    assert run(env, "raises") == [
        "bad argument #1 to 'get' (string expected, got no value)", "bad argument #1 to 'open' (string expected, got number)",
        "bad argument #2 to 'open' (table expected, got number)", "bad argument #2 to 'is' (string expected, got no value)",
        "bad argument #1 to 'open' (string expected, got number)", "bad argument #1 to 'with_context' (table expected, got string)",
        "actor cannot be nil", "scope cannot be nil", "bad argument #1 to 'method' (string expected, got no value)",
        "bad argument #1 to 'charge' (contract.Instance, called with a colon, expected, got number)",
        "bad argument #1 to 'id' (contract.Contract, called with a colon, expected, got no value)",
        "cannot set field 'charge' of a contract.Instance value: it is read-only",
    ]  # fmt: skip


def test_contracts_and_instances_become_nil_when_they_leave(env: WorkflowEnvironment) -> None:
    assert run(env, "travels") == [True, True]


def test_policies_say_what_may_be_opened(env: WorkflowEnvironment) -> None:
    identity = Identity({"id": "ann"}, ("app:staff",))
    caller = Caller(runtime=env.client._runtime, entry_id="app:f", pid="{a|b}", identity=identity)
    assert module._get(caller, "app:pay") is True
    assert module._implementations(caller, "app:pay") == ["app:card", "app:cash"]
    assert module._open(caller, "app:pay", None, [])["id"] == "app:card"
    for refused in (
        lambda: module._get(caller, "app:log"), lambda: module._implementations(caller, "app:log"),
        lambda: module._open(caller, None, "app:cash?till=1&shop=2", []),
    ):  # fmt: skip
        with pytest.raises(HostError, match=r"not allowed to contract\.") as caught:
            refused()
        assert caught.value.kind == "PermissionDenied"

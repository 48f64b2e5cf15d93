"""Fields, defaults and warnings of the kinds."""

from __future__ import annotations

import pytest

from orchestration.registry import FunctionLua, PoolType, ProcessLua
from orchestration.registry.kinds import KINDS, OUTSIDE_KINDS, is_outside
from orchestration.registry.kinds.lifecycle import Startup
from orchestration.registry.kinds.processes import ProcessHost, ProcessService
from orchestration.registry.kinds.queues import QueueConsumer


def one(tree, kind: str, fields: str = "{}", more: str = ""):
    tree.write("a.yaml", f"namespace: a\nentries:\n  - {{name: x, kind: {kind}, data: {fields}}}\n{more}")
    return tree.load().get("a:x")


def problem_of(tree, kind: str, fields: str = "{}", more: str = "") -> str:
    tree.write("a.yaml", f"namespace: a\nentries:\n  - {{name: x, kind: {kind}, data: {fields}}}\n{more}")
    problems = tree.problems()
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize(
    ("pool", "kind", "limit", "queue"),
    [
        ("{}", PoolType.LAZY, 100, 0),
        ("{type: lazy}", PoolType.LAZY, 16, 0),
        ("{type: adaptive, max_size: 4}", PoolType.ADAPTIVE, 4, 0),
        ("{type: inline}", PoolType.INLINE, None, 0),
        ("{type: static}", PoolType.STATIC, 8, 512),
        ("{type: static, workers: 8, size: 2}", PoolType.STATIC, 8, 512),
        ("{type: static, workers: 4}", PoolType.STATIC, 4, 256),
        ("{size: 3}", PoolType.STATIC, 3, 192),
        ("{workers: 2, buffer: 5}", PoolType.STATIC, 2, 5),
    ],
)
def test_pools(tree, pool, kind, limit, queue):
    entry = one(tree, "function.lua", f"{{source: return 1, method: f, pool: {pool}}}")
    assert isinstance(entry, FunctionLua)
    assert (entry.pool.kind, entry.pool.limit, entry.pool.queue) == (kind, limit, queue)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("{type: elastic}", "unknown pool type: elastic"),
        ("{type: static, size: 0}", "pool.size must be greater than 0 for non-flex pools"),
        ("{workers: 2, size: 0}", "pool.size must be greater than 0 for worker pools"),
        ("{workers: -1}", "must be at least 0"),
        ("5", "must be a mapping"),
    ],
)
def test_bad_pools(tree, pool, expected):
    assert expected in problem_of(tree, "function.lua", f"{{source: return 1, method: f, pool: {pool}}}")


def test_lifecycle_and_its_defaults(tree):
    service = one(
        tree,
        "process.service",
        "{process: p, host: h, input: [1, {a: [b]}], lifecycle: {auto_start: yes, requires: [q], depends_on: [h, q], "
        "restart: {max_attempts: 10}, security: {actor: {id: me}, policies: ['a:pol'], groups: [g]}}}",
        "  - {name: p, kind: process.lua, source: return 1, meta: {default_host: h}}\n"
        "  - {name: h, kind: process.host, host: {workers: 4}}\n"
        "  - {name: q, kind: store.memory}\n"
        "  - {name: pol, kind: security.policy, groups: [g], policy: {actions: '*', "
        "resources: [a, b], effect: deny}}\n",
    )
    assert isinstance(service, ProcessService)
    lifecycle = service.lifecycle
    assert service.input == (1, {"a": ("b",)})
    assert (lifecycle.auto_start, lifecycle.startup) == (True, Startup.REQUIRED)
    assert (lifecycle.start_timeout, lifecycle.stop_timeout, lifecycle.stable_threshold) == (10_000, 10_000, 5_000)
    assert lifecycle.dependencies == ("a:q", "a:h")
    restart = lifecycle.restart
    assert (restart.initial_delay, restart.max_delay, restart.backoff_factor, restart.jitter, restart.max_attempts) == (
        1_000,
        90_000,
        2.0,
        0.1,
        10,
    )
    assert lifecycle.security.groups == ("a:g",)
    registry = tree.load()
    host, process = registry.of(ProcessHost)[0], registry.of(ProcessLua)[0]
    assert (host.host.workers, host.host.queue_size, host.host.local_queue_size) == (4, 1024, 256)
    assert process.default_host == "a:h"


@pytest.mark.parametrize(
    ("lifecycle", "field", "expected"),
    [
        ("{startup: never}", "startup", "has no such value; use one of required, optional"),
        ("{start_timeout: 5 apples}", "start_timeout", "is not a duration"),
        ("{restart: {jitter: 2}}", "restart.jitter", "must be at most 1"),
        ("{restart: {max_attempts: -1}}", "restart.max_attempts", "must be at least 0"),
        ("{requires: x}", "requires", "must be a list"),
        ("{security: {policies: [x]}}", "security.policies[0]", "is a process.host, it must be a security.policy"),
        ("{security: {groups: [g]}}", "security.groups[0]", "no policy is in this group"),
        ("[]", "", "must be a mapping"),
    ],
)
def test_bad_lifecycles(tree, lifecycle, field, expected):
    problem = problem_of(tree, "process.host", f"{{lifecycle: {lifecycle}}}")
    assert f"entry a:x: field 'lifecycle{'.' if field else ''}{field}' = " in problem
    assert expected in problem


def _policy(condition: str) -> str:
    return f"{{policy: {{actions: a, resources: b, effect: deny, conditions: [{{field: action, {condition}}}]}}}}"


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("process.host", "{host: {workers: 0}}", "field 'host.workers' = 0: must be greater than 0"),
        ("env.variable", "{storage: a:nothing}", "field 'storage' = 'a:nothing': there is no entry a:nothing"),
        ("env.storage.router", "{storages: []}", "field 'storages' = []: must not be an empty list; add an item"),
        ("env.storage.file", "{}", "field 'file_path': file_path is required"),
        ("env.storage.file", "{file_path: x, file_mode: '9'}", "field 'file_mode' = '9': is no file mode"),
        ("env.storage.static", "{values: {A: 5}}", "field 'values.A' = (hidden): must be text"),
        ("store.memory", "{max_size: -1}", "field 'max_size' = -1: must be at least 0"),
        ("store.memory", "{backend: sql}", "field 'backend' = 'sql': has no such value; use one of redis, memory"),
        ("store.sql", "{database: db, table_name: ''}", "field 'table_name' = '': cannot be empty"),
        (
            "queue.queue",
            "{driver: d, codec: xml}",
            "field 'codec' = 'xml': there is no such codec; use one of json/plain",
        ),
        ("queue.consumer", "{queue: q, func: f, concurrency: 1001}", "must be at most 1000"),
        ("contract.definition", "{methods: [{name: a}, {name: a}]}", "the method a is defined twice"),
        ("contract.definition", "{methods: [{name: a, input_schemas: [{definition: 5}]}]}", "must be a schema"),
        ("security.policy", "{policy: {actions: a, resources: b, effect: maybe}}", "use one of allow, deny"),
        ("security.policy.expr", "{policy: {actions: a, resources: b, effect: deny}}", "expression is required"),
        (
            "security.policy",
            "{policy: {actions: a, resources: b, effect: deny, conditions: [{field: x, operator: eq, value: 1}]}}",
            "field 'policy.conditions[0].field' = 'x': there is no such field; use actor.id",
        ),
        ("security.policy", _policy("operator: in, value: x"), "'x': the operator in needs a list; correct 'value:'"),
        ("security.policy", _policy("operator: matches, value: '('"), "'(': regexp: missing ): (; correct"),
        ("security.policy", _policy("operator: lt, value: [1]"), "the operator lt compares numbers or texts"),
        (
            "security.policy.expr",
            "{policy: {actions: a, resources: b, effect: deny, expression: 'user == 1'}}",
            "field 'policy.expression' = 'user == 1': there is no user: use actor.id",
        ),
        ("security.token_store", "{store: s, token_length: 1}", "must be at least 16"),
        ("function.python", "{callable: shop.tasks}", "is no Python callable; write 'package.module:function'"),
        ("function.celery", "{task: ''}", "field 'task' = '': cannot be empty"),
        ("library.lua", "{}", "source is required"),
    ],
)
def test_bad_fields(tree, kind, fields, expected):
    tree.write("a.yaml", f"namespace: a\nentries:\n  - {{name: x, kind: {kind}, data: {fields}}}\n")
    problems = [problem for problem in tree.problems() if "there is no entry" not in problem or "nothing" in problem]
    assert len(problems) == 1
    assert problems[0].startswith("a.yaml:3: entry a:x: ")
    assert expected in problems[0]


def test_queue_consumer_defaults(tree):
    consumer = one(
        tree,
        "queue.consumer",
        "{queue: q, func: f}",
        "  - {name: f, kind: function.celery, task: t}\n"
        "  - {name: d, kind: queue.driver.memory}\n"
        "  - {name: q, kind: queue.queue, driver: d}\n",
    )
    assert isinstance(consumer, QueueConsumer)
    assert (consumer.queue, consumer.concurrency, consumer.prefetch, consumer.auto_ack) == ("a:q", 1, 10, False)


def test_contract_bindings_agree_with_their_contracts(tree):
    tree.write(
        "a.yaml",
        """
        namespace: a
        entries:
          - {name: c, kind: contract.definition, methods: [{name: greet}]}
          - {name: f, kind: function.celery, task: t}
          - {name: one, kind: contract.binding, contracts: [{contract: c, methods: {greet: f}, default: true}]}
          - {name: two, kind: contract.binding, contracts: [{contract: c, methods: {gret: f}, default: true}]}
        """,
    )
    problems = [problem.partition("field ")[2] for problem in tree.problems()]
    assert problems[0].startswith("'contracts[0].default' = true: a:c has a default binding already, a:one")
    assert (
        problems[1]
        == "'contracts[0].methods.gret' = 'gret': the contract a:c has no such method; did you mean 'greet'?"
    )


def test_unknown_fields_are_warned_of_and_skipped(tree):
    tree.write(
        "a.yaml",
        """
        namespace: a
        entries:
          - {name: h, kind: process.host, host: {max_processes: 10000, worker: 3}}
          - {name: f, kind: function.celery, task: t, qeue: q}
        """,
    )
    warnings = [warning.partition("entry ")[2] for warning in tree.warnings()]
    assert warnings[0].startswith("a:h: field 'host.max_processes' = 10000: process.host has no such field")
    assert warnings[1].endswith("it has no effect; did you mean 'workers'?")
    assert (
        warnings[-1]
        == "a:f: field 'qeue' = 'q': function.celery has no such field: it has no effect; did you mean 'queue'?"
    )


@pytest.mark.parametrize(
    "kind", ["http.router", "db.sql.oracle", "network.tailscale", "function.lua.bc", "store.kv.raft"]
)
def test_kinds_out_of_scope_are_kept_with_a_warning(tree, kind):
    assert one(tree, kind, "{any: thing}").data["any"] == "thing"
    assert tree.warnings() == [
        (
            f"a.yaml:3: entry a:x: field 'kind': the kind {kind} is not supported: the entry has no effect; "
            "remove the entry if nothing else needs it"
        )
    ]


def test_sizes_of_queues_that_a_host_has_not_got_are_said(tree):
    one(tree, "process.host", "{host: {workers: 2}}")
    assert tree.warnings() == []
    one(tree, "process.host", "{host: {queue_size: 10, local_queue_size: 5}}")
    (warning,) = tree.warnings()
    assert warning.startswith("a.yaml:3: entry a:x: field 'host.local_queue_size': accepted for the sake of")
    assert "without effect here: host.local_queue_size, host.queue_size; orchestration_processes_max bounds" in warning


def test_kinds_that_nothing_runs_are_said_once(tree, monkeypatch):
    monkeypatch.setattr("orchestration.registry.agreements.CHECKED_ONLY_KINDS", {"store.memory"})
    one(tree, "store.memory", more="  - {name: y, kind: store.memory}\n")
    assert tree.warnings() == [
        (
            "a.yaml:3: entry a:x: field 'kind': entries of kind store.memory are checked, "
            "but nothing runs them in this "
            "release; keep them for a later release, or remove them"
        )
    ]


def test_no_kind_is_both_read_and_out_of_scope():
    assert not [kind for kind in KINDS if is_outside(kind)]
    assert list(OUTSIDE_KINDS) == sorted(OUTSIDE_KINDS) or "network" in OUTSIDE_KINDS


def test_field_without_a_value_counts_as_absent(tree):
    assert (
        one(tree, "function.lua", "{source: return 1, method: f, modules: , imports: , pool: {size: }}").modules == ()
    )


def test_options_of_calls_come_from_meta(tree):
    tree.write(
        "a.yaml", "namespace: a\nname: x\nkind: function.celery\ntask: t\nmeta: {options: {retry: {max_attempts: 4}}}\n"
    )
    assert tree.load().get("a:x").options == {"retry": {"max_attempts": 4}}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("5", "field 'meta.options' = 5: must be a table of options"),
        ("{activity.start_to_close_timeout: soon}", "activity.start_to_close_timeout' = 'soon': is not a duration"),
        ("{activity.heartbeat_timeout: -5s}", "must not be negative"),
        ("{activity.local: 'yes'}", "activity.local' = 'yes': must be true or false"),
        ("{temporal.activity.task_queue: 5}", "must be a text that is not empty"),
        ("{activity.retry_policy: 3}", "activity.retry_policy' = 3: must be a table"),
        ("{activity.retry_policy: {maximumAttempts: many}}", "must be a whole number from 0 on"),
        ("{activity.retry_policy: {backoff_coefficient: 0.5}}", "must be a number from 1 on"),
        ("{activity.retry_policy: {non_retryable_error_types: Declined}}", "must be a list of kinds"),
        ("{retry: {max_attempts: -1}}", "retry.max_attempts must be a number that is not negative"),
        ("{timeout: soon}", "field 'meta.options.timeout' = 'soon'"),
    ],
)
def test_bad_options_of_calls_are_found_when_they_are_loaded(tree, options, text):
    """They were found by the first workflow that made a call, which was parked with an error of the engine."""
    tree.write("a.yaml", f"namespace: a\nname: x\nkind: function.celery\ntask: t\nmeta: {{options: {options}}}\n")
    (problem,) = tree.problems()
    assert problem.startswith("a.yaml:5: entry a:x: ")
    assert text in problem


def test_an_option_of_an_activity_that_is_none_is_told(tree):
    options = "{activity.heartbeat_timout: 5s, activity.retry_policy: {attempts: 3}, whatever: 1}"
    tree.write("a.yaml", f"namespace: a\nname: x\nkind: function.celery\ntask: t\nmeta: {{options: {options}}}\n")
    first, second = tree.warnings()
    assert "'meta.options.activity.heartbeat_timout' = '5s': there is no such option: it has no effect" in first
    assert "did you mean 'heartbeat_timeout'?" in first
    assert "activity.retry_policy.attempts" in second


def test_an_option_of_an_activity_without_its_prefix_is_told(tree):
    options = "{heartbeat_timeout: 5s, timeout: 3s, whatever: 1}"
    tree.write("a.yaml", f"namespace: a\nname: x\nkind: function.celery\ntask: t\nmeta: {{options: {options}}}\n")
    (warning,) = tree.warnings()
    assert "'meta.options.heartbeat_timeout' = '5s': it has no effect without its prefix" in warning
    assert warning.endswith("; write it as activity.heartbeat_timeout")

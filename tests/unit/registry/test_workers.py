"""Which worker serves what, on which queue, under which namespace."""

from __future__ import annotations

import pytest

from orchestration.errors import EntryNotFoundError
from orchestration.registry import CeleryClient, CeleryWorker, WorkflowLua

CLIENTS = """
  - {name: main, kind: celery.client, namespace: shop, tq_prefix: eu-}
  - {name: plain, kind: celery.client}
"""


def worker(name: str, client: str = "main", queue: str = "orders") -> str:
    return f"  - {{name: {name}, kind: celery.worker, client: {client}, task_queue: {queue}}}\n"


def workflow(name: str, meta: str = "{}") -> str:
    return f"  - {{name: {name}, kind: workflow.lua, source: return 1, meta: {meta}}}\n"


def write(tree, *entries: str) -> None:
    tree.write("a.yaml", "namespace: a\nentries:" + CLIENTS + "".join(entries))


def test_only_worker_serves_workflows_that_name_none(tree):
    write(tree, worker("w"), workflow("wf"))
    registry = tree.load()
    assert registry.worker_of("a:wf") == "a:w"
    assert registry.task_queue("a:wf") == "eu-orders"
    assert registry.namespace_of("a:wf") == "shop"
    assert registry.worker_queues() == ("eu-orders",)


def test_without_workers_the_default_queue_serves(tree):
    write(tree, workflow("wf"))
    registry = tree.load()
    assert registry.worker_of("a:wf") is None
    assert registry.task_queue("a:wf") is None
    assert registry.namespace_of("a:wf") == "default"
    assert registry.worker_queues() == ()


def test_the_entry_says_what_a_deploy_means_to_its_runs_else_its_worker(tree):
    options = ", worker_options: {default_versioning_behavior: auto_upgrade}}"
    pinned = workflow("own").replace("}}", "}, versioning: pinned}")
    write(tree, worker("w").replace("}", options), workflow("wf"), pinned)
    registry = tree.load()
    assert registry.versioning_of("a:wf").value == "auto_upgrade"
    assert registry.versioning_of("a:own").value == "pinned"
    write(tree, workflow("wf"))
    assert tree.load().versioning_of("a:wf").value == "pinned"


def test_several_workers_and_no_choice_is_a_problem(tree):
    write(tree, worker("w"), worker("v"), workflow("wf"))
    assert tree.problems() == [
        (
            "a.yaml:7: entry a:wf: field 'meta.temporal.workflow.worker': which worker "
            "serves this workflow is open: there "
            "are a:v, a:w; name one of them in meta.temporal.workflow.worker"
        )
    ]


@pytest.mark.parametrize("key", ["temporal", "celery"])
def test_meta_names_the_worker(tree, key):
    write(
        tree,
        worker("w"),
        worker("v", "plain", "slow"),
        workflow("wf", f"{{{key}: {{workflow: {{worker: v, name: Order}}}}}}"),
        f"  - {{name: f, kind: function.celery, task: t, meta: {{{key}: {{activity: {{worker: 'a:w'}}}}}}}}\n",
        f"  - {{name: p, kind: function.python, callable: a:b, meta: {{{key}: {{activity: {{worker: v}}}}}}}}\n",
    )
    registry = tree.load()
    assert registry.task_queue("a:wf") == "slow"
    assert registry.namespace_of("a:wf") == "default"
    assert registry.task_queue("a:f") == "eu-orders"
    assert registry.task_queue("a:p") == "slow"
    assert registry.worker_queues() == ("eu-orders", "slow")
    found = registry.workflow_type("Order")
    assert found is not None
    assert found.id == "a:wf"
    assert registry.workflow_type("a:wf") is None


def test_worker_that_is_missing_or_none(tree):
    write(
        tree,
        worker("w"),
        workflow("one", "{temporal: {workflow: {worker: 'a:x'}}}"),
        workflow("two", "{celery: {workflow: {worker: main}}}"),
        "  - {name: f, kind: function.celery, task: t, meta: {temporal: {activity: {worker: 5}}}}\n",
    )
    problems = tree.problems()
    assert problems[0].startswith(
        "a.yaml:6: entry a:one: field 'meta.temporal.workflow.worker' = 'a:x': there is no entry a:x; "
    )
    assert problems[1].startswith("a.yaml:7: entry a:two: field 'meta.")
    assert "is a celery.client, it must be a celery.worker entry" in problems[1]
    assert problems[2].startswith("a.yaml:8: entry a:f: field 'meta.temporal.activity.worker' = 5: must be the id")
    assert len(problems) == 3


def test_type_name_belongs_to_one_workflow(tree):
    write(
        tree,
        workflow("one", "{temporal: {workflow: {name: Order}}}"),
        workflow("two", "{temporal: {workflow: {name: Order}}}"),
        workflow("three", "{temporal: {workflow: {name: 'a:main'}}}"),
    )
    problems = tree.problems()
    assert "field 'meta.temporal.workflow.name' = 'Order': workflow Order already registered by a:one" in problems[0]
    assert "field 'meta.temporal.workflow.name' = 'a:main': the type name is the id of another entry" in problems[1]
    assert len(problems) == 2


def test_function_queue_without_worker(tree):
    write(
        tree,
        "  - {name: f, kind: function.celery, task: t, queue: q}\n",
        "  - {name: g, kind: function.celery, task: t}\n",
    )
    registry = tree.load()
    assert (registry.task_queue("a:f"), registry.task_queue("a:g")) == ("q", None)


def test_worker_by_id(tree):
    write(tree, worker("w"), workflow("wf"))
    registry = tree.load()
    assert registry.worker("a:w") is registry.of(CeleryWorker)[0]
    assert registry.task_queue("a:w") == "eu-orders"
    with pytest.raises(EntryNotFoundError, match=r"it is a workflow\.lua, not a celery\.worker"):
        registry.worker("a:wf")
    with pytest.raises(EntryNotFoundError):
        registry.task_queue("a:nothing")


def test_worker_options_and_their_defaults(tree):
    tree.write(
        "a.yaml",
        """
        namespace: a
        entries:
          - name: c
            kind: temporal.client
            address: localhost:7233
          - name: w
            kind: temporal.worker
            client: c
            task_queue: orders
            worker_options:
              max_concurrent_activity_execution_size: 0
              max_concurrent_workflow_task_execution_size: 5
              worker_activities_per_second: 2.5
              worker_stop_timeout: 1m30s
        """,
    )
    options = tree.load().worker("a:w").worker_options
    assert options.max_concurrent_activity_execution_size == 1000
    assert options.max_concurrent_workflow_task_execution_size == 5
    assert (options.worker_activities_per_second, options.task_queue_activities_per_second) == (2.5, 0.0)
    assert (options.worker_stop_timeout, options.sticky_schedule_to_start_timeout) == (90_000, 5_000)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("max_concurrent_workflow_task_pollers: 1", "must not be exactly 1"),
        ("task_queue_activities_per_second: -1", "must be at least 0"),
        ("worker_stop_timeout: -5s", "must not be negative"),
        ("worker_stop_timeout: soon", "is not a duration"),
        ("use_versioning: 1", "must be true or false"),
        ("default_versioning_behavior: both", "has no such value; use one of pinned, auto_upgrade"),
        ("max_concurrent_activity_execution_size: '5'", "must be a whole number; write it without quotes"),
    ],
)
def test_bad_worker_options(tree, field, expected):
    write(tree, worker("w").replace("}", f", worker_options: {{{field}}}}}"), workflow("wf"))
    (problem,) = tree.problems()
    assert f"entry a:w: field 'worker_options.{field.partition(':')[0]}' = " in problem
    assert expected in problem


def test_roles_that_exclude_each_other(tree):
    options = "{disable_workflow_worker: true, local_activity_worker_only: true}"
    write(tree, worker("w").replace("}", f", worker_options: {options}}}"))
    assert "disable_workflow_worker and local_activity_worker_only exclude each other" in tree.problems()[0]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("{}", "address is required; write 'address: host:port', or make it a celery.client"),
        ("{address: x, auth: {type: api_key}}", "exactly one of api_key, api_key_env, api_key_file; none is given"),
        ("{address: x, auth: {type: mtls, cert_file: a, cert_pem: b}}", "exactly one of cert_file, cert_pem"),
        ("{address: x, auth: {type: mtls, cert_file: a}}", "exactly one of key_file, key_pem, key_pem_env; none"),
        ("{address: x, auth: {type: basic}}", "has no such value; use one of none, api_key, mtls"),
        ("{address: x, tls: {server_name: a, insecure_skip_verify: true}}", "server_name has no meaning"),
        ("{address: x, keep_alive_time: -1s}", "must not be negative"),
        ("{address: x, health_check: {interval: -1}}", "must not be negative"),
    ],
)
def test_connection_fields_are_checked(tree, fields, expected):
    tree.write("a.yaml", f"namespace: a\nname: c\nkind: temporal.client\ndata: {fields}\n")
    (problem,) = tree.problems()
    assert expected in problem


def test_connection_fields_are_named_once_as_without_effect(tree):
    tree.write(
        "a.yaml",
        "namespace: a\nname: c\nkind: temporal.client\naddress: x\nkeep_alive_time: 5s\ntls: {enabled: yes}\n",
    )
    client = tree.load().of(CeleryClient)[0]
    assert (client.keep_alive_time, client.tls.enabled, client.run_namespace) == (5_000, True, "default")
    assert tree.warnings() == [
        (
            "a.yaml:4: entry a:c: field 'address': accepted for the sake of the reference "
            "runtime, without effect here: "
            "address, keep_alive_time, tls; connection and polling are the Celery "
            "application's; remove them if no other "
            "runtime reads this file"
        )
    ]


def test_method_is_main_by_default(tree):
    write(tree, workflow("wf"))
    assert tree.load().of(WorkflowLua)[0].method == "main"

"""``${...}`` placeholders: where values come from and which type they have."""

from __future__ import annotations

import pytest

from orchestration.registry import CeleryWorker, FunctionLua, RegistryEntry

VARIABLES = """
namespace: vars
entries:
  - {name: os, kind: env.storage.os}
  - {name: fixed, kind: env.storage.static, values: {REGION: eu, SHARED: from-static}}
  - {name: all, kind: env.storage.router, storages: [os, fixed]}
  - {name: region, kind: env.variable, variable: REGION, storage: fixed}
  - {name: shared, kind: env.variable, variable: SHARED, storage: all}
  - {name: size, kind: env.variable, variable: SIZE, storage: os, default: 7}
  - {name: UNNAMED, kind: env.variable, storage: os}
"""


def values_of(tree, text: str, env: dict[str, str] | None = None) -> dict[str, object]:
    tree.write("values.yaml", f"namespace: a\nname: x\nkind: registry.entry\nv: {text}\n")
    entry = tree.load(env).get("a:x")
    assert isinstance(entry, RegistryEntry)
    return entry.values["v"]


@pytest.mark.parametrize(
    ("text", "env", "expected"),
    [
        ("'${env:REGION}'", {}, "eu"),
        ("'${env:vars:region}'", {}, "eu"),
        ("'${env:SHARED}'", {}, "from-static"),
        ("'${env:SHARED}'", {"SHARED": "from-os"}, "from-os"),
        ("'${env:SIZE}'", {}, 7),
        ("'${env:SIZE}'", {"SIZE": "9"}, 9),
        ("'${env:SIZE|3}'", {}, 7),
        ("'${env:UNNAMED}'", {"UNNAMED": "u"}, "u"),
        ("'${env:PLAIN}'", {"PLAIN": "12"}, "12"),
        ("'${env:PLAIN|5}'", {"PLAIN": "12"}, 12),
        ("'${env:PLAIN|5}'", {}, 5),
        ("'${env:PLAIN|1.5}'", {}, 1.5),
        ("'${env:PLAIN|true}'", {"PLAIN": "false"}, False),
        ("'${env:PLAIN|text}'", {}, "text"),
        ("'${env:PLAIN|}'", {}, ""),
        ("'${PLAIN|5}'", {}, 5),
        ("'${PLAIN}'", {"PLAIN": "untouched"}, "${PLAIN}"),
        ("'${plain|x}'", {}, "${plain|x}"),
        ("'redis://${env:HOST|local}:${PORT|6379}/0'", {"HOST": "h"}, "redis://h:6379/0"),
        ("'$${env:HOST}'", {}, "${env:HOST}"),
        ("['${A|1}', {b: '${B|x}'}]", {}, (1, {"b": "x"})),
    ],
)
def test_values(tree, text, env, expected):
    tree.write("vars.yaml", VARIABLES)
    assert values_of(tree, text, env) == expected


def test_missing_variable_is_a_problem_of_the_field(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: function.celery\ntask: '${env:TASK}'\n")
    assert tree.problems() == [
        (
            "a.yaml:4: entry a:x: field 'task' = '${env:TASK}': the variable TASK has no value and the placeholder no "
            "default; set TASK, or write ${env:TASK|default}"
        )
    ]


def test_value_that_does_not_fit_the_default(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: registry.entry\nn: '${env:N|5}'\n")
    (problem,) = tree.problems({"N": "many"})
    assert "field 'n' = '${env:N|5}': the variable N must hold a number" in problem
    assert "many" not in problem


def test_number_fields_take_placeholders_with_number_defaults(tree):
    tree.write(
        "a.yaml",
        """
        namespace: a
        entries:
          - {name: c, kind: celery.client}
          - name: w
            kind: celery.worker
            client: c
            task_queue: '${env:QUEUE|orders}'
            worker_options: {max_concurrent_activity_execution_size: '${env:N|5}'}
        """,
    )
    worker = tree.load({"N": "8"}).of(CeleryWorker)[0]
    assert (worker.task_queue, worker.worker_options.max_concurrent_activity_execution_size) == ("orders", 8)


def test_entry_keeps_the_placeholder_in_its_data(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: function.celery\ntask: '${env:TASK}'\n")
    entry = tree.load({"TASK": "real"}).get("a:x")
    assert (entry.task, entry.data["task"]) == ("real", "${env:TASK}")


def test_lua_code_is_not_touched(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: function.lua\nmethod: f\nsource: return '${env:NO} ${NO|x}'\n")
    assert tree.load().of(FunctionLua)[0].source == "return '${env:NO} ${NO|x}'"


def test_file_storage(tree):
    path = tree.write("vars.env", "# comment\nTOKEN = t=1\n\nBROKEN\n")
    tree.write(
        "a.yaml",
        f"""
        namespace: a
        entries:
          - {{name: f, kind: env.storage.file, file_path: {path}}}
          - {{name: t, kind: env.variable, variable: TOKEN, storage: f}}
          - {{name: x, kind: registry.entry, v: '${{env:TOKEN}}'}}
        """,
    )
    assert tree.load().get("a:x").values["v"] == "t=1"


def test_public_name_belongs_to_one_variable(tree):
    tree.write(
        "a.yaml",
        """
        namespace: a
        entries:
          - {name: os, kind: env.storage.os}
          - {name: one, kind: env.variable, variable: X, storage: os}
          - {name: two, kind: env.variable, variable: X, storage: os}
          - {name: bad, kind: env.variable, variable: X-Y, storage: oz}
        """,
    )
    problems = tree.problems()
    assert problems[0].startswith("a.yaml:5: entry a:two: field 'variable' = 'X': the public name is taken by a:one")
    assert problems[1].startswith(
        "a.yaml:6: entry a:bad: field 'storage' = 'a:oz': there is no entry a:oz; did you mean"
    )
    assert problems[2].startswith("a.yaml:6: entry a:bad: field 'variable' = 'X-Y': is no name of a variable")

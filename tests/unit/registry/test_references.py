"""References between entries: completed, checked, free of cycles; modules that exist and are allowed."""

from __future__ import annotations

import pytest

from orchestration.registry import WorkflowLua
from orchestration.registry.modules import AVAILABLE_MODULES, LEFT_OUT_MODULES


def library(name: str, imports: str = "{}", modules: str = "[]") -> str:
    return f"  - {{name: {name}, kind: library.lua, source: return 1, imports: {imports}, modules: {modules}}}\n"


def workflow(imports: str = "{}", modules: str = "[]") -> str:
    return f"  - {{name: wf, kind: workflow.lua, source: return 1, imports: {imports}, modules: {modules}}}\n"


def test_short_references_get_the_own_namespace(tree):
    tree.write("a.yaml", "namespace: a\nentries:\n" + library("money") + workflow("{m: money, n: {name: money}}"))
    entry = tree.load().get("a:wf")
    assert isinstance(entry, WorkflowLua)
    assert dict(entry.imports) == {"m": "a:money", "n": "a:money"}


def test_references_as_mappings(tree):
    tree.write("a.yaml", "namespace: a\nentries:\n" + workflow("{m: {ns: b, name: money}}"))
    tree.write("b.yaml", "namespace: b\nentries:\n" + library("money"))
    assert dict(tree.load().get("a:wf").imports) == {"m": "b:money"}


def test_import_that_is_missing_or_no_lua(tree):
    tree.write(
        "a.yaml",
        "namespace: a\nentries:\n" + library("money") + "  - {name: task, kind: function.celery, task: t}\n"
        + workflow("{m: mony, t: task}"),
    )  # fmt: skip
    assert tree.problems() == [
        "a.yaml:5: entry a:wf: field 'imports.m' = 'a:mony': there is no entry a:mony; did you mean 'a:money'?",
        (
            "a.yaml:5: entry a:wf: field 'imports.t' = 'a:task': is a function.celery, it must be a library.lua entry; "
            "name a library.lua entry"
        ),
    ]


@pytest.mark.parametrize("kind", ["module.lua", "function.lua"])
def test_other_lua_entries_may_be_imported(tree, kind):
    other = f"  - {{name: other, kind: {kind}, method: run, source: return 1}}\n"
    tree.write("a.yaml", "namespace: a\nentries:\n" + other + workflow("{o: other}"))
    assert [item.alias for item in tree.load().bundle("a:wf").imports] == ["o"]


@pytest.mark.parametrize(
    ("imports", "what"),
    [("{'': money}", "import alias cannot be empty"), ("{m: ':money'}", "the namespace before ':' is empty"),
     ("{m: 'a:'}", "the name is empty"), ("{m: 5}", "must be the id of an entry"), ("{m: null}", "must be the id")],
)  # fmt: skip
def test_bad_imports(tree, imports, what):
    tree.write("a.yaml", "namespace: a\nentries:\n" + library("money") + workflow(imports))
    (problem,) = tree.problems()
    assert problem.startswith("a.yaml:4: entry a:wf: field 'imports")
    assert what in problem


def test_cycle_is_written_out(tree):
    tree.write(
        "a.yaml",
        "namespace: a\nentries:\n" + library("x", "{y: y}") + library("y", "{z: z}") + library("z", "{x: x}")
        + workflow("{x: x}"),
    )  # fmt: skip
    assert tree.problems() == [
        (
            "a.yaml:5: entry a:z: field 'imports.x' = 'a:x': adding dependency would create a cycle: "
            "a:x -> a:y -> a:z -> a:x; remove one of these imports"
        )
    ]


def test_diamond_is_no_cycle(tree):
    tree.write(
        "a.yaml",
        "namespace: a\nentries:\n" + library("base") + library("x", "{b: base}") + library("y", "{b: base}")
        + workflow("{x: x, y: y}"),
    )  # fmt: skip
    assert [unit.entry_id for unit in tree.load().bundle("a:wf").units()] == ["a:wf", "a:base", "a:x", "a:y"]


def test_deep_chain_of_imports_is_no_problem(tree):
    chain = [library(f"l{n}", f"{{next: l{n + 1}}}") for n in range(300)]
    tree.write("a.yaml", "namespace: a\nentries:\n" + "".join(chain) + library("l300"))
    assert len(tree.load()) == 301


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("tiem", "there is no such module; did you mean 'time'?"),
        ("zzz", "there is no such module; use one of base64, channel, contract"),
        ("a:b", "module cannot have a namespace; put entries under 'imports:' as 'alias: ns:name'"),
        ("' '", "module cannot be empty; name a module"),
    ],
)
def test_modules_that_are_none(tree, module, expected):
    tree.write("a.yaml", "namespace: a\nentries:\n" + workflow(modules=f"[funcs, {module}]"))
    (problem,) = tree.problems()
    assert problem.startswith(
        f"a.yaml:3: entry a:wf: field 'modules[1]' = {module if module[0] == chr(39) else repr(module)}: "
    )
    assert expected in problem


def test_module_that_is_left_out(tree):
    tree.write("a.yaml", "namespace: a\nentries:\n" + library("l", modules="[treesitter]"))
    assert tree.problems() == [
        (
            "a.yaml:3: entry a:l: field 'modules[0]' = 'treesitter': the module treesitter is not part of this "
            "release; do without it, or move its use into a Celery task"
        )
    ]


def test_workflow_may_not_use_modules_with_unrecorded_effects(tree):
    tree.write(
        "a.yaml",
        "namespace: a\nentries:\n" + library("deep", modules="[logger]") + library("l", "{d: deep}")
        + workflow("{l: l}", "[time, http_client]"),
    )  # fmt: skip
    assert tree.problems() == [
        (
            "a.yaml:5: entry a:wf: field 'imports.l' = 'logger': module does not have any "
            "allowed class: logger may not be "
            "used in a workflow (listed by a:deep); call a function that uses it, with funcs.call"
        ),
        (
            "a.yaml:5: entry a:wf: field 'modules[1]' = 'http_client': module does not have "
            "any allowed class: http_client "
            "may not be used in a workflow; call a function that uses it, with funcs.call"
        ),
    ]


def test_modules_that_are_always_there_may_be_listed(tree):
    tree.write(
        "a.yaml", "namespace: a\nentries:\n" + workflow(modules="[process, channel, errors, os, payload, funcs]")
    )
    assert len(tree.load()) == 1


@pytest.mark.parametrize(
    "module",
    ["base64", "channel", "coroutine", "crypto", "ctx", "errors", "funcs", "hash", "json", "math", "os", "payload",
     "process", "string", "table", "text", "time", "uuid", "workflow", "yaml"],
)  # fmt: skip
def test_a_workflow_may_list_every_deterministic_module(tree, module):
    tree.write("a.yaml", "namespace: a\nentries:\n" + workflow(modules=f"[{module}]"))
    assert len(tree.load()) == 1


@pytest.mark.parametrize(
    "module",
    ["cdc", "cloudstorage", "contract", "env", "eval", "events", "excel", "exec", "fs", "http", "http_client", "hub",
     "io", "logger", "metrics", "pg", "queue", "registry", "security", "sql", "store", "stream", "system", "tty",
     "websocket"],
)  # fmt: skip
def test_a_workflow_may_list_no_module_with_effects_that_are_not_recorded(tree, module):
    tree.write("a.yaml", "namespace: a\nentries:\n" + workflow(modules=f"[{module}]"))
    (problem,) = tree.problems()
    assert f"= '{module}': module does not have any allowed class" in problem


@pytest.mark.parametrize("module", ["compress", "expr", "html", "template", "templates", "treesitter"])
def test_a_module_that_is_not_there_yet_is_refused_in_workflows_too(tree, module):
    tree.write("a.yaml", "namespace: a\nentries:\n" + workflow(modules=f"[{module}]"))
    (problem,) = tree.problems()
    assert f"the module {module} is not part of this release" in problem


@pytest.mark.parametrize("kind", ["function.lua", "process.lua"])
def test_functions_and_processes_may_list_every_module(tree, kind):
    modules = ", ".join(sorted(AVAILABLE_MODULES))
    entry = f"  - {{name: f, kind: {kind}, source: return 1, method: main, modules: [{modules}]}}\n"
    tree.write("a.yaml", "namespace: a\nentries:\n" + entry)
    assert set(tree.load().get("a:f").modules) == AVAILABLE_MODULES


@pytest.mark.parametrize("module", sorted(LEFT_OUT_MODULES))
def test_a_module_that_is_left_out_is_told_to_functions_too(tree, module):
    entry = f"  - {{name: f, kind: function.lua, source: return 1, method: main, modules: [{module}]}}\n"
    tree.write("a.yaml", "namespace: a\nentries:\n" + entry)
    (problem,) = tree.problems()
    assert f"a.yaml:3: entry a:f: field 'modules[0]' = '{module}': the module {module} is not part of this" in problem


def test_services_need_a_process_and_a_host(tree):
    tree.write(
        "a.yaml",
        """
        namespace: a
        entries:
          - {name: p, kind: process.lua, source: return 1}
          - {name: h, kind: process.host}
          - {name: good, kind: process.service, process: p, host: h, lifecycle: {requires: [bad]}}
          - {name: bad, kind: process.service, process: h, host: p, lifecycle: {depends_on: [missing]}}
          - {name: none, kind: process.service, host: node:control}
        """,
    )
    assert [problem.partition(": ")[2] for problem in tree.problems()] == [
        (
            "entry a:bad: field 'host' = 'a:p': is a process.lua, it must be a process.host "
            "entry; name a process.host entry"
        ),
        (
            "entry a:bad: field 'lifecycle.depends_on[0]' = 'a:missing': there is no entry a:missing; "
            "define it, or name a service that exists"
        ),
        (
            "entry a:bad: field 'process' = 'a:h': is a process.host, it must be a process.lua entry; "
            "name a process.lua entry"
        ),
        "entry a:none: field 'host' = 'node:control': invalid host: node:control; name a process.host entry",
        "entry a:none: field 'process': process is required; add 'process:'",
    ]


def test_entries_that_are_wrong_themselves_are_not_reported_as_missing(tree):
    tree.write(
        "a.yaml",
        "namespace: a\nentries:\n  - {name: c, kind: celery.client, tq_prefix: 5, namespace: []}\n"
        "  - {name: w, kind: celery.worker, client: c, task_queue: q}\n",
    )
    assert ["a:w" in problem for problem in tree.problems()] == [False, False]

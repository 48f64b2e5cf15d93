"""Everything wrong is told at once, with file, line, entry, field, value and cure."""

from __future__ import annotations

import pickle

import pytest

from orchestration.errors import RegistryError
from orchestration.registry import DefinitionsError, load_registry


def test_three_mistakes_are_told_at_once(tree):
    tree.write(
        "_index.yaml",
        """
        namespace: app
        entries:
          - name: charge
            kind: function.celery
            task: 5
          - name: order
            kind: workflow.lua
            source: file://order.lua
            modules: [funcs, tme]
          - name: worker
            kind: celery.worker
            client: cleint
            task_queue: orders
          - name: client
            kind: celery.client
        """,
    )
    tree.write("order.lua", "return function() end")
    assert tree.problems() == [
        (
            "_index.yaml:5: entry app:charge: field 'task' = 5: must be text; "
            "write a text, in quotes if it looks like a number"
        ),
        "_index.yaml:9: entry app:order: field 'modules[1]' = 'tme': there is no such module; did you mean 'time'?",
        (
            "_index.yaml:12: entry app:worker: field 'client' = 'app:cleint': there is no entry app:cleint; "
            "did you mean 'app:client'?"
        ),
    ]


def test_three_mistakes_in_one_entry_are_told_at_once(tree):
    tree.write(
        "a.yaml",
        """
        namespace: app
        name: order
        kind: function.lua
        source: return {
        modules: [jsn]
        imports: {money: app.lib:money}
        pool: {type: elastic}
        """,
    )
    assert tree.problems() == [
        "a.yaml:1: entry app:order: field 'method': method is required; add 'method:'",
        (
            "a.yaml:4: entry app:order: field 'source': Lua: unexpected symbol near <eof>; "
            "correct the Lua code there (Lua 5.4)"
        ),
        "a.yaml:5: entry app:order: field 'modules[0]' = 'jsn': there is no such module; did you mean 'json'?",
        (
            "a.yaml:6: entry app:order: field 'imports.money' = 'app.lib:money': there is no entry app.lib:money; "
            "define it, or name a library.lua entry that exists"
        ),
        (
            "a.yaml:7: entry app:order: field 'pool.type' = 'elastic': unknown pool type: elastic; "
            "use one of inline, lazy, static, adaptive"
        ),
    ]


def test_all_files_and_trees_are_told_together(tree, tmp_path):
    tree.write("a.yaml", "namespace: a\nentries:\n  - name: x\n   kind: bad\n")
    tree.write("b.yaml", "namespace: b\nentries: {}\n")
    with pytest.raises(DefinitionsError) as caught:
        load_registry([tree.root, tmp_path / "missing"], env={})
    assert [problem.file for problem in caught.value.problems] == [
        str(tree.root / "a.yaml"),
        str(tree.root / "b.yaml"),
        str(tmp_path / "missing"),
    ]
    text = str(caught.value)
    assert text.startswith("3 problems in the definitions:\n")
    assert f"{tree.root}/a.yaml:4: not valid YAML" in text
    assert f"{tmp_path}/missing: there is no such file or folder; create it" in text


def test_error_is_a_registry_error_and_survives_pickling(tree):
    tree.write("b.yaml", "namespace: b\nentries: {}\n")
    with pytest.raises(RegistryError) as caught:
        tree.load()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, DefinitionsError)
    assert str(copy) == str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "namespace: a\n",
            (
                "a.yaml:1: field 'entries': entries: either entries array or single entry "
                "(name/kind) must be provided; "
                "add 'entries:' with a list of entries"
            ),
        ),
        (
            "namespace: a\nentries:\n  - kind: registry.entry\n",
            (
                "a.yaml:3: field 'entry[0].name': entry[0].name: name is required and must be a non-empty string; "
                "add 'name: ...'"
            ),
        ),
        (
            "namespace: a\nentries:\n  - name: x\n    kind: ' '\n",
            (
                "a.yaml:4: field 'entry[0].kind' = ' ': entry[0].kind: kind is required and must "
                "be a non-empty string; "
                "add 'kind: ...'"
            ),
        ),
        ("namespace: a\nentries: 5\n", "a.yaml:2: field 'entries': entries must be a list; write '- name: ...' items"),
        ("namespace: a\nentries: [5]\n", "a.yaml:2: entry[0] must be a mapping with name and kind; write"),
        (
            "namespace: a b\nentries: []\n",
            "a.yaml:1: field 'namespace' = 'a b': is no namespace; write words of letters, digits and underscores",
        ),
        ("version: '2.0'\nnamespace: a\nentries: []\n", "a.yaml:1: field 'version' = '2.0': this version"),
        (
            "namespace: a\nname: x\nkind: registry.entry\nb: 1\nb: 2\n",
            "a.yaml:5: field 'b': the key 'b' is written twice, first in line 4; keep one of them",
        ),
        (
            "namespace: a\nentries:\n  - name: x\n    kind: registry.entry\n    b: 1\n    b: 2\n",
            "a.yaml:6: entry a:x: field 'b': the key 'b' is written twice, first in line 5; keep one of them",
        ),
        (
            "namespace: a\nname: x\nkind: function.celry\n",
            "a.yaml:3: entry a:x: field 'kind' = 'function.celry': unknown kind; did you mean 'function.celery'",
        ),
        (
            "namespace: a\nname: x\nkind: nonsense\n",
            "a.yaml:3: entry a:x: field 'kind' = 'nonsense': unknown kind; use one",
        ),
        (
            "namespace: a\nname: 'x y'\nkind: registry.entry\n",
            "a.yaml:2: field 'name' = 'x y': a name may not have spaces",
        ),
        ("namespace: a\nname: x\nkind: registry.entry\nmeta: 5\n", "a.yaml:4: field 'meta': must be a mapping"),
        (
            "namespace: !!python/object:os.system x\nentries: []\n",
            "a.yaml:1: field 'namespace': the tag 'tag:yaml.org,2002:python/",
        ),
        (
            "a: &a [*a]\nnamespace: x\nentries: []\n",
            "a.yaml:1: field 'a[0]': an alias refers to a value that it is part of",
        ),
        ("[" * 3000, "a.yaml:1: values are nested too deeply; flatten the file"),
    ],
)
def test_bad_files(tree, text, expected):
    tree.write("a.yaml", text)
    (problem,) = tree.problems()
    assert problem.startswith(expected)


def test_aliases_cannot_explode(tree):
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    tree.write("bomb.yaml", "\n".join([*lines, "namespace: x", "entries: []", ""]))
    assert tree.problems() == [
        (
            "bomb.yaml:1: aliases make more than 100000 values of this file; use fewer "
            "anchors and aliases, or split the file"
        )
    ]


def test_file_that_is_too_large_or_no_text(tree):
    tree.write("large.yaml", "#" * (1024 * 1024 + 1))
    tree.write("latin.yaml", "")
    (tree.root / "latin.yaml").write_bytes(b"namespace: a\nname: \xe9\n")
    assert tree.problems() == [
        "large.yaml: the file has 1048577 bytes, a definition file may have 1048576; split it into several files",
        "latin.yaml:2: the file is not UTF-8 text; save it as UTF-8",
    ]


def test_anchors_and_merge_keys_work(tree):
    tree.write(
        "a.yaml",
        """
        x: &defaults {queue: slow, task: never}
        namespace: a
        entries:
          - <<: *defaults
            name: x
            kind: function.celery
            task: real
        """,
    )
    entry = tree.load().get("a:x")
    assert (entry.data["task"], entry.data["queue"]) == ("real", "slow")


def test_duplicate_id_names_both_places(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: registry.entry\n")
    tree.write("sub/b.yaml", "\n\nnamespace: a\nname: x\nkind: registry.entry\n")
    (problem,) = tree.problems()
    assert problem == (
        "sub/b.yaml:2: entry a:x: field 'name' = 'x': the id a:x is taken by the entry at a.yaml:1; "
        "rename or remove one of them"
    )


def test_lua_error_names_the_lua_file_and_line(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: workflow.lua\nsource: file://code/main.lua\n")
    tree.write("code/main.lua", "local x = 1\nlocal y = = 2\n")
    assert tree.problems() == [
        (
            "code/main.lua:2: entry a:x: field 'source': Lua: unexpected symbol near '='; "
            "correct the Lua code there (Lua 5.4)"
        )
    ]


def test_lua_error_in_inline_code_names_the_yaml_line(tree):
    tree.write(
        "a.yaml",
        """
        namespace: a
        name: x
        kind: library.lua
        source: |
          local x = 1
          local y = = 2
        """,
    )
    assert tree.problems()[0].startswith("a.yaml:6: entry a:x: field 'source': Lua: unexpected symbol near '='")


def test_name_that_the_sandbox_refuses_is_told_at_load(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: library.lua\nsource: file://x.lua\n")
    tree.write("x.lua", "local t = {}\nreturn setmetatable(t, { __gc = print })\n")
    assert tree.problems()[0].startswith("x.lua:2: entry a:x: field 'source': Lua: __gc is not available")


def test_lua_bytecode_is_refused(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: library.lua\nsource: file://x.lua\n")
    (tree.root / "x.lua").write_bytes(b"\x1bLua\x54")
    assert "attempt to load a binary chunk" in tree.problems()[0]


def test_injected_checker_is_used(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: library.lua\nsource: file://x.lua\n")
    tree.write("x.lua", "this is not Lua")
    seen: list[tuple[str, str]] = []

    def check(source: str, name: str) -> str | None:
        seen.append((source, name))
        return None

    assert len(load_registry(tree.root, check_lua=check)) == 1
    assert seen == [("this is not Lua", "x.lua")]


def test_secrets_are_not_shown(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: celery.client\nauth: {type: api_key, api_key: [s3cret]}\n")
    (problem,) = tree.problems()
    assert "s3cret" not in problem
    assert "field 'auth.api_key' = (hidden): must be text" in problem


def test_secrets_inside_of_a_shown_mapping_are_not_shown(tree):
    tree.write(
        "a.yaml",
        "namespace: a\nname: x\nkind: celery.client\nauth: {type: api_key, api_key: s3cret, api_key_file: f}\n",
    )
    (problem,) = tree.problems()
    assert "s3cret" not in problem
    assert "exactly one of api_key, api_key_env, api_key_file; given are api_key, api_key_file" in problem

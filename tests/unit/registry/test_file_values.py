"""``file://`` values: where they may point, and what is said of those that point elsewhere."""

from __future__ import annotations

import pytest

from orchestration.registry import FunctionLua, RegistryEntry


def entry_with(source: str) -> str:
    return f"namespace: a\nname: x\nkind: library.lua\nsource: '{source}'\n"


def test_relative_to_the_yaml_file_and_to_the_root(tree):
    tree.write(
        "sub/a.yaml",
        """
        namespace: a
        entries:
          - {name: near, kind: function.lua, source: file://code/f.lua, method: run}
          - {name: up, kind: function.lua, source: file://../f.lua, method: run}
          - {name: root, kind: function.lua, source: file:///f.lua, method: run}
        """,
    )
    tree.write("sub/code/f.lua", "return 'near'")
    tree.write("f.lua", "return 'root'")
    registry = tree.load()
    assert [(entry.name, entry.source, entry.location.source) for entry in registry.of(FunctionLua)] == [
        ("near", "return 'near'", "sub/code/f.lua"),
        ("root", "return 'root'", "f.lua"),
        ("up", "return 'root'", "f.lua"),
    ]


def test_any_text_field_may_be_a_file(tree):
    tree.write(
        "a.yaml", "namespace: a\nname: x\nkind: registry.entry\nlist: [{text: file://t.txt}, 'no file://t.txt']\n"
    )
    tree.write("t.txt", "with ${env:NOTHING} in it")
    entry = tree.load().get("a:x")
    assert isinstance(entry, RegistryEntry)
    assert entry.values["list"] == ({"text": "with ${env:NOTHING} in it"}, "no file://t.txt")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("file://", "names no file; write the path of a file after 'file://'"),
        ("file:///", "names no file; write the path"),
        ("file://nothing.lua", "there is no file {root}/nothing.lua; create the file or correct the path"),
        ("file://sub", "{root}/sub is no file; name a file"),
        ("file://../secret.lua", "leaves the tree {root}; a file:// value may only name files of its own tree"),
        ("file://sub/../../secret.lua", "leaves the tree {root}; "),
        ("file:///../secret.lua", "leaves the tree {root}; "),
        ("file:////etc/passwd", "there is no file {root}/etc/passwd; "),
        ("file://link.lua", "is a link that leads out of the tree {root}; "),
        ("file://linked/secret.lua", "is a link that leads out of the tree {root}; "),
    ],
)
def test_bad_paths(tree, value, expected):
    tree.write("a.yaml", entry_with(value))
    tree.write("sub/f.lua", "return 1")
    secret = tree.root.parent / "secret.lua"
    secret.write_text("return 'secret'")
    (tree.root / "link.lua").symlink_to(secret)
    (tree.root / "linked").symlink_to(tree.root.parent)
    (problem,) = tree.problems()
    place = f"a.yaml:4: entry a:x: field 'source' = {value!r}: "
    assert problem.startswith(place + expected.format(root=str(tree.root)).replace(f"{tree.root}/", ""))


def test_link_inside_of_the_tree_is_followed(tree):
    tree.write("a.yaml", entry_with("file://link.lua"))
    target = tree.write("code/f.lua", "return 1")
    (tree.root / "link.lua").symlink_to(target)
    assert len(tree.load()) == 1


def test_definition_file_that_is_a_link_out_of_the_tree_is_refused(tree):
    outside = tree.root.parent / "outside.yaml"
    outside.write_text("namespace: a\nentries: []\n")
    (tree.root / "link.yaml").symlink_to(outside)
    assert tree.problems() == [
        "link.yaml: the file is a link that leads out of its tree; keep the file itself inside the tree"
    ]


def test_files_that_are_no_text_or_too_large(tree):
    tree.write("a.yaml", entry_with("file://x.lua"))
    (tree.root / "x.lua").write_bytes(b"return '\xff'")
    assert "x.lua is not UTF-8 text (byte 8); save it as UTF-8" in tree.problems()[0]
    (tree.root / "x.lua").write_bytes(b"-" * (1024 * 1024 + 1))
    assert "x.lua has more than 1048576 bytes; split it" in tree.problems()[0]

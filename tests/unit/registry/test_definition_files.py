"""Which files are definition files, and what their forms come to."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from orchestration.errors import EntryNotFoundError, RegistryError
from orchestration.registry import Entry, FunctionCelery, RegistryEntry, load_registry

TASKS = """
version: "1.0"
namespace: shop.billing
meta: {team: billing, comment: all}
entries:
  - name: charge
    kind: function.celery
    meta: {comment: charges one order}
    task: shop.charge
  - name: refund
    kind: function.celery
    data: {task: shop.refund, queue: slow}
"""


def test_entries_are_found_in_all_folders_and_both_suffixes(tree):
    tree.write("_index.yaml", TASKS)
    tree.write("deep/er/x.yml", "namespace: a\nname: b\nkind: registry.entry\nanswer: 42\n")
    tree.write(".hidden/x.yaml", "namespace: [not, looked, at]\n")
    registry = tree.load()
    assert [entry.id for entry in registry.entries] == ["a:b", "shop.billing:charge", "shop.billing:refund"]


def test_file_without_namespace_is_no_definition_file(tree):
    tree.write("compose.yaml", "services: {web: {kind: 5}}\n")
    tree.write("blank.yaml", "namespace: ' '\nentries: 5\n")
    tree.write("empty.yaml", "")
    assert tree.load().entries == ()


def test_empty_list_of_entries_is_in_order(tree):
    tree.write("a.yaml", "namespace: a\nentries: []\n")
    assert len(tree.load()) == 0


def test_single_file_is_a_tree_of_its_folder(tree):
    path = tree.write("a.yaml", "namespace: a\nname: l\nkind: library.lua\nsource: file://l.lua\n")
    tree.write("l.lua", "return {}")
    assert len(load_registry(str(path))) == 1


def test_overlapping_trees_are_read_once(tree):
    tree.write("sub/a.yaml", TASKS)
    assert len(load_registry([tree.root, tree.root / "sub", tree.root])) == 2


def test_several_documents_in_a_file(tree):
    tree.write(
        "a.yaml", "namespace: a\nname: x\nkind: registry.entry\n---\nnamespace: b\nname: y\nkind: registry.entry\n"
    )
    assert [entry.id for entry in tree.load().entries] == ["a:x", "b:y"]


def test_entry_has_its_facts(tree):
    path = tree.write("_index.yaml", TASKS)
    entry = tree.load().get("shop.billing:charge")
    assert isinstance(entry, FunctionCelery)
    assert (entry.id, entry.namespace, entry.name, entry.kind) == (
        "shop.billing:charge",
        "shop.billing",
        "charge",
        "function.celery",
    )
    assert dict(entry.meta) == {"team": "billing", "comment": "charges one order"}
    assert (entry.location.file, entry.location.line) == (str(path), 5)


def test_data_key_alone_is_the_data(tree):
    tree.write("_index.yaml", TASKS)
    refund = tree.load().get("shop.billing:refund")
    assert isinstance(refund, FunctionCelery)
    assert (refund.task, refund.queue) == ("shop.refund", "slow")


def test_fields_beside_data_are_said_to_be_ignored(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: function.celery\ntask: no\ndata: {task: yes-this}\n")
    assert tree.load().of(FunctionCelery)[0].task == "yes-this"
    assert tree.warnings() == [
        "a.yaml:4: entry a:x: beside 'data' the fields task have no effect; move them below 'data', or remove 'data'"
    ]


def test_free_data_keeps_every_type_and_cannot_be_changed(tree):
    tree.write("a.yaml", "namespace: a\nname: x\nkind: registry.entry\nid: own\nlist: [1, 2.5, yes, null, {a: b}]\n")
    entry = tree.load().get("a:x")
    assert isinstance(entry, RegistryEntry)
    assert dict(entry.values) == {"id": "own", "list": (1, 2.5, "yes", None, {"a": "b"})}
    assert isinstance(entry.values, MappingProxyType)
    assert isinstance(entry.values["list"][4], MappingProxyType)
    with pytest.raises(AttributeError):
        entry.kind = "other"


def test_unknown_id_names_close_ones(tree):
    tree.write("_index.yaml", TASKS)
    registry = tree.load()
    assert registry.find("shop.billing:nothing") is None
    with pytest.raises(EntryNotFoundError) as caught:
        registry.get("shop.biling:charge")
    expected = "no entry has the id 'shop.biling:charge': did you mean 'shop.billing:charge'"
    assert str(caught.value).startswith(expected)


def test_digest_tells_content_not_place(tree, tmp_path: Path):
    tree.write("_index.yaml", TASKS)
    first = tree.load().digest
    other = tmp_path / "other"
    other.mkdir()
    (other / "moved.yaml").write_text("# comment\n" + TASKS)
    assert load_registry([other]).digest == first
    (other / "moved.yaml").write_text(TASKS.replace("slow", "fast"))
    assert load_registry([other]).digest != first


def test_entries_of_a_class(tree):
    tree.write("_index.yaml", TASKS)
    registry = tree.load()
    assert [entry.name for entry in registry.of(FunctionCelery)] == ["charge", "refund"]
    assert len(registry.of(Entry)) == len(registry) == 2
    assert registry.of(RegistryEntry) == ()
    assert "shop.billing:charge" in registry


@pytest.mark.parametrize(("fields", "what"), [
    ("", "has neither 'task' nor 'canvas'"),
    ("task: t\ncanvas: a.b:c\n", "has both 'task' and 'canvas'"),
    ("canvas: a.b\n", "is no Python callable"),
])  # fmt: skip
def test_a_celery_function_is_one_task_or_one_canvas(tree, fields: str, what: str) -> None:
    tree.write("a.yaml", f"namespace: a\nname: x\nkind: function.celery\n{fields}")
    with pytest.raises(RegistryError, match=what):
        tree.load()


def test_a_canvas_is_a_task_of_its_own(tree) -> None:
    tree.write("a.yaml", "namespace: a\nname: x\nkind: function.celery\ncanvas: shop.canvases:fulfil\nkwargs: true\n")
    (entry,) = tree.load().of(FunctionCelery)
    assert (entry.task_name, entry.canvas) == ("a:x", "shop.canvases:fulfil")
    assert entry.arguments([1, {"a": 2}]) == ([1], {"a": 2})
    assert entry.arguments([1, [2]]) == ([1, [2]], {})
    assert entry.arguments([1, {5: 2}]) == ([1, {5: 2}], {})

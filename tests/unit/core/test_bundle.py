"""Code bundles: named by their content, the same in every process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

from orchestration.core.bundle import Bundle, BundleMode, Import, Unit
from orchestration.errors import DecodeError, RegistryError
from orchestration.registry import load_registry
from orchestration.types import EntryId
from tests.support.lua_runs import Run

CONFIG = """
namespace: shop
entries:
  - name: order
    kind: workflow.lua
    source: file://order.lua
    modules: [time, funcs]
    imports: {money: money, dates: dates}
  - {name: money, kind: library.lua, source: file://money.lua, imports: {base: base}}
  - {name: dates, kind: library.lua, source: file://dates.lua, modules: [time], imports: {b: base}}
  - {name: base, kind: library.lua, source: file://base.lua}
  - {name: other, kind: function.lua, source: return 1, method: run}
  - {name: task, kind: function.celery, task: t}
"""


def write(root: Path, text: str = CONFIG) -> Path:
    root.mkdir(exist_ok=True)
    (root / "_index.yaml").write_text(text)
    for name in ("order", "money", "dates", "base"):
        (root / f"{name}.lua").write_text(f"return {{ name = '{name}' }}\n")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "config")


def digest(root: Path, entry_id: str = "shop:order") -> str:
    return load_registry(root, env={}).bundle(entry_id).digest


def test_bundle_holds_all_that_the_entry_reaches(root):
    registry = load_registry(root)
    bundle = registry.bundle("shop:order")
    assert (bundle.entry_id, bundle.method, bundle.mode) == ("shop:order", "main", BundleMode.WORKFLOW)
    assert (bundle.api_level, bundle.lua, bundle.modules) == (1, "5.4", ("funcs", "time"))
    assert bundle.source == "return { name = 'order' }\n"
    assert [unit.source_name for unit in bundle.units()] == ["order.lua", "base.lua", "dates.lua", "money.lua"]
    assert registry.bundle("shop:order") is bundle


def test_library_that_is_imported_twice_is_one_unit(root):
    bundle = load_registry(root).bundle("shop:order")
    dates, money = (item.unit for item in bundle.imports)
    assert dates.imports[0].unit is money.imports[0].unit
    assert len(msgpack.unpackb(bundle.encode())["libraries"]) == 3


def test_round_trip(root):
    bundle = load_registry(root).bundle("shop:order")
    copy = Bundle.decode(bundle.encode())
    assert copy == bundle
    assert copy.digest == bundle.digest
    assert copy.encode() == bundle.encode()


def test_digest_is_the_same_in_another_process_and_place(root, tmp_path):
    program = (
        "from orchestration.registry import load_registry\n"
        f"print(load_registry({str(root)!r}).bundle('shop:order').digest)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == digest(root)
    assert digest(write(tmp_path / "elsewhere")) == digest(root)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("source: return 1, method", "source: return 2, method"),
        ("modules: [time, funcs]", "modules: [funcs, time, time]"),
        ("{money: money, dates: dates}", "{dates: 'shop:dates', money: {ns: shop, name: money}}"),
        ("    kind: workflow.lua\n", "    kind: workflow.lua\n    meta: {comment: new}\n"),
    ],
)
def test_what_the_code_does_not_see_does_not_change_the_digest(root, old, new):
    before = digest(root)
    write(root, CONFIG.replace(old, new))
    assert digest(root) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    source: file://order.lua\n", "    source: file://order.lua\n    method: other\n"),
        ("modules: [time, funcs]", "modules: [time]"),
        ("dates: dates}", "days: dates}"),
        ("modules: [time], ", ""),
    ],
)
def test_what_the_code_sees_changes_the_digest(root, old, new):
    before = digest(root)
    write(root, CONFIG.replace(old, new, 1))
    assert digest(root) != before


def test_a_deep_library_changes_the_digest(root):
    before = digest(root)
    (root / "base.lua").write_text("return { name = 'changed' }")
    assert digest(root) != before


def test_mode_and_entry_belong_to_the_digest():
    facts = {"source_name": "a.lua", "source": "return 1", "method": "main"}
    bundles = [
        Bundle(entry_id="a:b", mode=BundleMode.WORKFLOW, **facts),
        Bundle(entry_id="a:b", mode=BundleMode.FUNCTION, **facts),
        Bundle(entry_id="a:c", mode=BundleMode.WORKFLOW, **facts),
    ]
    assert len({bundle.digest for bundle in bundles}) == 3


def test_digest_is_pinned():
    """A change of the encoding would make every stored bundle a stranger: it needs a new format number."""
    library = Unit(entry_id="a:l", source_name="l.lua", source="return {}")
    bundle = Bundle(
        entry_id="a:b",
        source_name="b.lua",
        source="return function() end",
        modules=("time", "funcs"),
        imports=(Import(alias="l", unit=library),),
        method="main",
    )
    assert bundle.digest == "a944ac9127ed9aaf8a66272f1a99dff77031512c4967e1af0d7fc255c54285fc"


def test_two_units_cannot_share_an_id():
    units = [Unit(entry_id="a:l", source_name="l.lua", source=f"return {n}") for n in range(2)]
    with pytest.raises(ValueError, match="two different units claim the entry id 'a:l'"):
        Bundle(
            entry_id="a:b",
            source_name="b.lua",
            source="return 1",
            imports=tuple(Import(alias=f"l{n}", unit=unit) for n, unit in enumerate(units)),
            method="main",
        )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "not a code bundle"),
        (b"\xc1", "not a code bundle"),
        (msgpack.packb([1]), "not a code bundle: no format number"),
        (msgpack.packb({"format": 99}), "code bundle of format 99: this worker reads format 1, upgrade it"),
        (msgpack.packb({"format": 1}), "damaged code bundle"),
        (msgpack.packb({"format": 1, "libraries": [5]}), "damaged code bundle"),
    ],
)
def test_bytes_that_are_no_bundle(data, expected):
    with pytest.raises(DecodeError, match=expected):
        Bundle.decode(data)


def test_damaged_bundles_are_refused_not_misread(root):
    raw = msgpack.unpackb(load_registry(root).bundle("shop:order").encode())
    raw["libraries"][0]["imports"] = [["x", raw["libraries"][1]["id"]]]
    with pytest.raises(DecodeError, match="import cycle"):
        Bundle.decode(msgpack.packb(raw))
    raw["libraries"] = raw["libraries"][1:]
    with pytest.raises(DecodeError, match="damaged code bundle"):
        Bundle.decode(msgpack.packb(raw))


def test_entries_without_code_have_no_bundle(root):
    registry = load_registry(root)
    with pytest.raises(RegistryError, match=r"entry shop:task is a function\.celery: only function\.lua"):
        registry.bundle("shop:task")
    assert registry.bundle("shop:other").mode is BundleMode.FUNCTION


def test_a_library_that_fails_to_load_says_so_each_time() -> None:
    """The second time it was "not found", which sent people to look at their imports."""
    library = Unit(entry_id=EntryId("app:lib"), source_name="lib.lua", source='error("no configuration")')
    source = """return function()
      local problems = {}
      for i = 1, 2 do problems[i] = select(2, pcall(require, "lib")) end
      return problems
    end"""
    run = Run(
        Bundle(
            entry_id=EntryId("app:flow"), source_name="flow.lua", method="main", source=source,
            imports=(Import(alias="lib", unit=library),),
        )
    )  # fmt: skip
    run.start()
    assert run.result == ["lib.lua:1: no configuration"] * 2

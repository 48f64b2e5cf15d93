"""Files that change under `orchestration dev`."""

from __future__ import annotations

from pathlib import Path

from orchestration.cli.watching import Changes


def project(folder: Path) -> tuple[Path, Changes]:
    tree = folder / "config"
    own = ("config/a.lua", "config/deep/a.yaml", "shop/tasks.py")
    others = (".git/x.py", "venv/pyvenv.cfg", "venv/lib/y.py")
    for name in (*own, *others):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    return tree, Changes([tree], folder)


def settled(changes: Changes) -> list[Path]:
    assert changes.settled() == [], "the first look sees that something stirs"
    return changes.settled()


def test_what_is_written_made_and_removed_is_noticed_once(tmp_path: Path) -> None:
    tree, changes = project(tmp_path)
    assert settled(changes) == []
    (tree / "a.lua").write_text("other")
    (tree / "deep/new.lua").write_text("1")
    (tmp_path / "shop/tasks.py").unlink()
    assert settled(changes) == [tree / "a.lua", tree / "deep/new.lua", tmp_path / "shop/tasks.py"]
    assert settled(changes) == []


def test_a_change_waits_for_the_next_one_to_be_over(tmp_path: Path) -> None:
    tree, changes = project(tmp_path)
    (tree / "a.lua").write_text("other")
    assert changes.settled() == []
    (tree / "deep/a.yaml").write_text("other")
    assert settled(changes) == [tree / "a.lua", tree / "deep/a.yaml"]


def test_what_is_not_the_projects_own_is_left_out(tmp_path: Path) -> None:
    _, changes = project(tmp_path)
    for name in (".git/x.py", "venv/lib/y.py", "shop/notes.txt", "shop/data.yaml"):
        (tmp_path / name).write_text("other")
    assert settled(changes) == []

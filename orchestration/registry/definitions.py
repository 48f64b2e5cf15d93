"""From YAML documents to definitions: entries with id, kind, meta and data, not yet checked field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestration.registry.explain import dotted
from orchestration.registry.files import FileText, FileValueError, Tree, is_file_value
from orchestration.registry.problems import Problem, ProblemList, close_matches, shown
from orchestration.registry.yaml_nodes import Document, read_documents
from orchestration.registry.yaml_nodes import Path as FieldPath
from orchestration.types import EntryId

__all__ = ["Definition", "read_definitions"]

_NAME = re.compile(r"[^\s:|@{}\x00-\x1f\x7f]+")
_INDEX = re.compile(r"\[(\d+)\]")
_ENTRY_KEYS = frozenset({"name", "kind", "meta", "data"})
_FILE_KEYS = frozenset({"version", "namespace", "meta", "entries"})
_VERSIONS = frozenset({"1", "1.0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One entry as written.

    Attributes:
        id: ``namespace:name``.
        kind: As written.
        meta: The file's defaults with the entry's own over them.
        data: All other fields, ``file://`` values replaced by the text of their files.
        file: Path of the YAML file, for people.
        line: First line of the entry.
        texts: The files read, by path of the field in ``data`` (or in meta, then beginning with ``meta``).
        document: The YAML document it stands in.
        path: Path of the entry in it.
        data_path: Path of its data in it.
    """

    id: EntryId
    kind: str
    meta: Mapping[str, Any]
    data: Mapping[str, Any]
    file: str
    line: int
    texts: Mapping[FieldPath, FileText]
    document: Document
    path: FieldPath
    data_path: FieldPath

    @property
    def namespace(self) -> str:
        """The part of the id before the first colon."""
        return self.id.partition(":")[0]

    @property
    def name(self) -> str:
        """The part of the id after the first colon."""
        return self.id.partition(":")[2]

    def line_of(self, path: FieldPath) -> int:
        """Line of a field of ``data``, or of ``meta`` if the path begins so; else the entry's."""
        if path[:1] == ("meta",):
            for prefix in (self.path, ()):
                if (*prefix, *path) in self.document.lines:
                    return self.document.line_of((*prefix, *path))
            return self.line
        return self.document.line_of((*self.data_path, *path)) if path else self.line

    def text_offset(self, path: FieldPath) -> int:
        """Lines of the YAML file before the first line of an inline text."""
        full = (*self.data_path, *path)
        return self.document.text_lines.get(full, self.document.line_of(full) - 1)

    def problem(self, field: str, what: str, cure: str, *, value: str | None = None) -> Problem:
        """A problem of one of this entry's fields, named by its dotted path."""
        path = _field_path(field, {**self.data, "meta": self.meta})
        return Problem(
            file=self.file, line=self.line_of(path), entry=self.id, field=field, value=value, what=what, cure=cure
        )


class _FileReader:
    """Reads the definitions of one file."""

    def __init__(self, tree: Tree, path: Path, problems: ProblemList) -> None:
        self.tree = tree
        self.path = path
        self.file = str(path)
        self.problems = problems

    def read(self) -> Iterator[Definition]:
        try:
            data = self.tree.read_bytes(self.path)
        except FileValueError as error:
            self.problems.add(Problem(file=self.file, line=0, what=error.what, cure=error.cure))
            return
        for document in read_documents(data):
            yield from self._document(document)

    def _add(
        self,
        document: Document,
        path: FieldPath,
        what: str,
        cure: str,
        *,
        field: str = "",
        entry: str = "",
        value: str | None = None,
    ) -> None:
        line = document.line_of(path)
        problem = Problem(file=self.file, line=line, entry=entry, field=field, value=value, what=what, cure=cure)
        self.problems.add(problem)

    def _document(self, document: Document) -> Iterator[Definition]:
        content = document.value
        for found in document.problems:
            entry, field = _entry_and_field(content, found.path)
            self.problems.add(
                Problem(
                    file=self.file,
                    line=found.line,
                    entry=entry,
                    field=field,
                    value=found.value,
                    what=found.what,
                    cure=found.cure,
                )
            )
        if not isinstance(content, dict):
            return
        namespace = content.get("namespace")
        if namespace is None or (isinstance(namespace, str) and not namespace.strip()):
            return
        if not isinstance(namespace, str) or not _NAME.fullmatch(namespace.strip()):
            what = "is no namespace"
            cure = "write words of letters, digits and underscores with dots between, such as app.orders"
            self._add(document, ("namespace",), what, cure, field="namespace", value=shown(namespace))
            return
        version = content.get("version", "1.0")
        if str(version) not in _VERSIONS:
            what = "this version of the file format is not known"
            self._add(document, ("version",), what, 'write version: "1.0"', field="version", value=shown(version))
        yield from self._entries(document, content, namespace.strip())

    def _entries(self, document: Document, content: dict[str, Any], namespace: str) -> Iterator[Definition]:
        meta = content.get("meta") or {}
        if not isinstance(meta, dict):
            self._add(document, ("meta",), "must be a mapping", "write 'key: value' lines below it", field="meta")
            meta = {}
        if "entries" not in content:
            if "name" not in content and "kind" not in content:
                what = "entries: either entries array or single entry (name/kind) must be provided"
                self._add(document, ("namespace",), what, "add 'entries:' with a list of entries", field="entries")
                return
            single = {key: value for key, value in content.items() if key not in {"version", "namespace", "meta"}}
            found = self._entry(document, single, namespace, meta, path=(), index=None)
            if found is not None:
                yield found
            return
        for key in sorted(set(content) - _FILE_KEYS):
            what = f"the key {key!r} beside entries has no effect"
            cure = close_matches(key, _FILE_KEYS, otherwise="move it into an entry or remove it")
            line = document.line_of((key,))
            self.problems.warn(Problem(file=self.file, line=line, field=key, what=what, cure=cure))
        entries = content["entries"]
        if not isinstance(entries, list):
            what = "entries must be a list"
            self._add(document, ("entries",), what, "write '- name: ...' items below it", field="entries")
            return
        for index, item in enumerate(entries):
            path: FieldPath = ("entries", index)
            if not isinstance(item, dict):
                what = f"entry[{index}] must be a mapping with name and kind"
                self._add(document, path, what, "write '- name: ...' and 'kind: ...'", value=shown(item))
                continue
            found = self._entry(document, item, namespace, meta, path=path, index=index)
            if found is not None:
                yield found

    def _entry(
        self,
        document: Document,
        item: dict[str, Any],
        namespace: str,
        file_meta: dict[str, Any],
        *,
        path: FieldPath,
        index: int | None,
    ) -> Definition | None:
        where = "" if index is None else f"entry[{index}]."
        ok = True
        for key in ("name", "kind"):
            value = item.get(key)
            if not isinstance(value, str) or not value.strip():
                what = f"{where}{key}: {key} is required and must be a non-empty string"
                self._add(
                    document, (*path, key), what, f"add '{key}: ...'", field=f"{where}{key}", value=_given(item, key)
                )
                ok = False
        if not ok:
            return None
        name, kind = item["name"].strip(), item["kind"].strip()
        entry_id = EntryId(f"{namespace}:{name}")
        if not _NAME.fullmatch(name):
            what = "a name may not have spaces or any of : | @ { }"
            self._add(document, (*path, "name"), what, "write it with letters, digits, dots and underscores",
                      field="name", value=shown(name))  # fmt: skip
            return None
        meta = item.get("meta") or {}
        if path and not isinstance(meta, dict):
            what = "must be a mapping"
            self._add(document, (*path, "meta"), what, "write 'key: value' lines below it",
                      entry=entry_id, field="meta", value=shown(meta))  # fmt: skip
            meta = {}
        merged = {**file_meta, **(meta if path else {})}
        data, data_path = self._data(document, item, path, entry_id)
        texts: dict[FieldPath, FileText] = {}
        definition = Definition(
            id=entry_id,
            kind=kind,
            meta=merged,
            data=data,
            file=self.file,
            line=document.line_of((*path, "name")) if path else document.line,
            texts=texts,
            document=document,
            path=path,
            data_path=data_path,
        )
        return replace(
            definition,
            data=self._with_files(data, (), definition, texts),
            meta=self._with_files(merged, ("meta",), definition, texts),
        )

    def _data(
        self, document: Document, item: dict[str, Any], path: FieldPath, entry_id: EntryId
    ) -> tuple[dict[str, Any], FieldPath]:
        if "data" not in item:
            return {key: value for key, value in item.items() if key not in _ENTRY_KEYS}, path
        data, data_path = item["data"], (*path, "data")
        ignored = sorted(set(item) - _ENTRY_KEYS)
        if ignored:
            what = f"beside 'data' the fields {', '.join(ignored)} have no effect"
            cure = "move them below 'data', or remove 'data'"
            line = document.line_of((*path, ignored[0]))
            self.problems.warn(Problem(file=self.file, line=line, entry=entry_id, what=what, cure=cure))
        if data is None:
            return {}, data_path
        if not isinstance(data, dict):
            what = "must be a mapping"
            self._add(document, data_path, what, "write 'key: value' lines below it",
                      entry=entry_id, field="data", value=shown(data))  # fmt: skip
            return {}, data_path
        return data, data_path

    def _with_files(self, value: Any, path: FieldPath, definition: Definition, texts: dict[FieldPath, FileText]) -> Any:
        """A copy with the texts of files in the place of ``file://`` values; the files are noted in ``texts``."""
        if isinstance(value, dict):
            return {key: self._with_files(item, (*path, key), definition, texts) for key, item in value.items()}
        if isinstance(value, list):
            return [self._with_files(item, (*path, index), definition, texts) for index, item in enumerate(value)]
        if not is_file_value(value):
            return value
        try:
            found = self.tree.read_value(value, folder=self.path.parent)
        except FileValueError as error:
            problem = definition.problem(dotted(path), error.what, error.cure, value=shown(value))
            self.problems.add(problem)
            return value
        texts[path] = found
        return found.text


def _field_path(field: str, value: object) -> FieldPath:
    """The path that a dotted field name stands for. Keys may have dots themselves: the longest that fits is taken."""
    parts: list[str | int] = []
    rest = field
    while rest:
        if isinstance(value, Mapping):
            keys = [key for key in value if rest == key or rest.startswith((f"{key}.", f"{key}["))]
            key = max(keys, key=len, default=rest.partition(".")[0])
            parts.append(key)
            value = value.get(key)
            rest = rest[len(key) :].removeprefix(".")
            continue
        match = _INDEX.match(rest)
        if match is None:
            break
        index = int(match[1])
        parts.append(index)
        value = value[index] if isinstance(value, list) and index < len(value) else None
        rest = rest[match.end() :].removeprefix(".")
    return tuple(parts)


def _given(item: Mapping[str, Any], key: str) -> str | None:
    return shown(item[key]) if key in item else None


def _entry_and_field(content: Any, path: FieldPath) -> tuple[str, str]:
    """Entry id and field of a path in a document, as far as the document tells."""
    if not isinstance(content, dict) or path[:1] != ("entries",) or len(path) < 2:
        return "", dotted(path)
    entries, index = content.get("entries"), path[1]
    item = entries[index] if isinstance(entries, list) and isinstance(index, int) and index < len(entries) else None
    name = item.get("name") if isinstance(item, dict) else None
    entry = f"{content.get('namespace', '')}:{name}" if isinstance(name, str) else ""
    return entry, dotted(path[2:]) if entry else dotted(path)


def read_definitions(tree: Tree, problems: ProblemList, seen: set[Path]) -> Iterator[Definition]:
    """All definitions of a tree, in a fixed order.

    Args:
        tree: Where to look.
        problems: Gets what is wrong in its files.
        seen: Files that were read already, as resolved paths; they are skipped, and new ones added.
    """
    for path in tree.definition_files():
        real = path.resolve()
        if real not in seen:
            seen.add(real)
            yield from _FileReader(tree, path, problems).read()

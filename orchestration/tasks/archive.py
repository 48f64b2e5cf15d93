"""Writes the histories of ended runs to files, before the retention deletes them."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import os
import threading
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from orchestration.core.export import as_json, history_lines
from orchestration.errors import ConfigError, StoreUnavailableError, WorkflowNotFoundError
from orchestration.store.results import RunRecord
from orchestration.store.store import Store
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId
from orchestration.whole_files import write_whole

__all__ = ["ArchiveTarget", "Archiver", "archive_path", "open_target"]

logger = logging.getLogger(__name__)

_HOLD_MS = 60_000
_BATCH = 20
_LONGEST_NAME = 200


class ArchiveTarget(Protocol):
    """A place for files."""

    def write(self, path: str, lines: Iterable[bytes]) -> None:
        """Write a file whole, or not at all; one that is there is replaced."""


class _Folder:
    """A folder of this machine's, or of a network file system.

    Args:
        root: The folder; made when it is not there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, path: str, lines: Iterable[bytes]) -> None:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, lines)


class _FileSystem:
    """Any file system of fsspec's.

    Args:
        url: Of the folder.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError:
            raise ConfigError(
                f"orchestration_archive = {url!r} needs fsspec: pip install 'celery-orchestration[archive]'"
            ) from None
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"orchestration_archive = {url!r}: {error}") from error

    def write(self, path: str, lines: Iterable[bytes]) -> None:
        target = f"{self._root.rstrip('/')}/{path}"
        temporary = f"{target}.{os.getpid()}.{threading.get_ident():x}.tmp"
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        try:
            with self._files.open(temporary, "wb") as file:
                for line in lines:
                    file.write(line)
            self._files.mv(temporary, target)
        finally:
            if self._files.exists(temporary):
                self._files.rm(temporary)


def open_target(where: str) -> ArchiveTarget:
    """The place that the setting ``orchestration_archive`` names.

    Raises:
        ConfigError: It is a URL, and fsspec, or its part for it, is not installed.
    """
    if where.startswith("file://"):
        return _Folder(Path(urllib.parse.unquote(urllib.parse.urlsplit(where).path)))
    return _FileSystem(where) if "://" in where else _Folder(Path(where))


def archive_path(namespace: str, workflow_id: str, run_id: str, closed_ms: int) -> str:
    """Path of a run's file below the archive: namespace, day of its end in UTC, workflow id, run id."""
    day = dt.datetime.fromtimestamp(closed_ms / 1000, dt.UTC).date().isoformat()
    name = urllib.parse.quote(workflow_id, safe="")
    if name in (".", ".."):  # would lead elsewhere
        name = name.replace(".", "%2E")
    if len(name) > _LONGEST_NAME:  # what a file system takes at most is 255 bytes
        name = f"{name[: _LONGEST_NAME - 17]}-{hashlib.sha256(workflow_id.encode()).hexdigest()[:16]}"
    return f"{namespace}/{day}/{name}/{run_id}.jsonl"


class Archiver:
    """A thread in each worker that writes ended runs to the archive, if there is one.

    Args:
        runtime: Of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._target = open_target(runtime.settings.archive) if runtime.settings.archive else None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look for runs that wait."""
        self._thread = threading.Thread(target=self._loop, name="orchestration-archive", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits for the file at hand."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _loop(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                found = self.turn()
            except StoreUnavailableError as error:
                found = 0
                logger.warning("archiving put off: %s", error)
            except Exception:
                found = 0
                logger.exception("archiving failed; it goes on")
            else:
                if self._target is None and not found:
                    return
            pause = 0.0 if found else self._runtime.settings.sweep_interval_ms / 1000

    def turn(self) -> int:
        """Archive some of the runs that wait; without an archive, let them go.

        Returns:
            How many were found.
        """
        count = 0
        for namespace in self._runtime.namespaces:
            store = self._runtime.store(namespace)
            for shard in store.archives.shards:
                found = store.archives.take(shard, limit=_BATCH, hold_ms=_HOLD_MS)
                count += len(found)
                if found and self._target is None:
                    logger.warning("%s runs are not archived: orchestration_archive is not set any more", len(found))
                for run_id in found:
                    if self._stop.is_set():
                        return count
                    self._archive(namespace, store, run_id)
        return count

    def _archive(self, namespace: str, store: Store, run_id: RunId) -> None:
        try:
            record = store.runs.record(run_id)
        except WorkflowNotFoundError:
            store.archives.finish(run_id)
            return
        try:
            if self._target is not None:
                path = archive_path(namespace, record.fields["id"], run_id, record.number("closed"))
                self._target.write(path, (line.encode() + b"\n" for line in _lines(store, record)))
        except StoreUnavailableError:
            raise
        except Exception:
            # It waits in the store, and is tried again when the time for which it is held is over.
            logger.exception("run not archived yet", extra={"run_id": run_id, "workflow_id": record.fields["id"]})
            return
        store.archives.finish(run_id, workflow_id=record.fields["id"])


def _lines(store: Store, record: RunRecord) -> Iterable[str]:
    fields = record.fields
    head: dict[str, Any] = {
        "workflow_id": fields["id"], "run_id": record.run_id, "type": fields["type"], "status": record.status,
    }  # fmt: skip
    code = store.runs.bundle(record.run_id, fields.get("bundle", ""))
    return map(as_json, history_lines(head, code, store.runs.history(record.run_id)))

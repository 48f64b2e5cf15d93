"""A stage in a folder that every worker and client reaches: a disk of this machine, or a network file system.

``<root>/<first two digits of the scope>/<scope>/<digest>``, and beside the digests ``.expires`` with a time in
milliseconds, when the workflow has ended. Who writes takes that away first; who deletes puts the folder aside, looks
whether it is still there, and else puts the files back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from orchestration.errors import ConfigError, StoreError
from orchestration.store.offload.stages import StageError
from orchestration.whole_files import sync_folder, write_whole

__all__ = ["FileStage"]

logger = logging.getLogger(__name__)

_EXPIRES: Final = ".expires"
_ASIDE: Final = ".aside."
_MOST_DELETED: Final = 200
_LOOKS: Final = 3
_SHORT_S: Final = 0.08
_LONGEST_PAUSE_S: Final = 2.0
_LEFTOVER_MS: Final = 3_600_000
_NEVER: Final = 2**63


class FileStage:
    """A stage in a folder.

    Args:
        root: The folder; made when it is not there.
        now_ms: The clock of the store, in milliseconds since the epoch.
        patience_s: How long it is tried to write while that fails, in seconds: what is given up may be the outcome of
            an activity.

    Raises:
        ConfigError: It cannot be made, or not be written to.
    """

    def __init__(self, root: Path, *, now_ms: Callable[[], int], patience_s: float = 0.0) -> None:
        self.name = f"the folder {root}"
        self._root = root
        self._patience_s = patience_s
        self._now_ms = now_ms
        self._turn = random.randrange(256)  # workers begin at different places
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"orchestration_offload: the folder {root} cannot be made: {error}") from error
        if not os.access(root, os.W_OK | os.X_OK):
            raise ConfigError(f"orchestration_offload: the folder {root} cannot be written to")

    def _folder(self, scope: str) -> Path:
        return self._root / scope[:2] / scope

    def put(self, scope: str, digest: str, data: bytes) -> None:
        """Keep bytes, and the whole scope with them."""
        end, pause = time.monotonic() + self._patience_s, 0.01  # at first the folder may only have been put aside
        while True:
            try:
                self._put(self._folder(scope), digest, data)
                return
            except OSError as error:
                if time.monotonic() >= end and not (isinstance(error, FileNotFoundError) and pause < _SHORT_S):
                    raise StoreError(f"{len(data)} bytes cannot be written to {self.name}: {error}") from error
                if pause >= _SHORT_S:
                    logger.warning("%s bytes cannot be written to %s yet: %s", len(data), self.name, error)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    @staticmethod
    def _put(folder: Path, digest: str, data: bytes) -> None:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
            sync_folder(folder.parent.parent)
        # First: whoever is about to delete the folder then puts back what is in it.
        (folder / _EXPIRES).unlink(missing_ok=True)
        target = folder / digest
        if not target.exists():
            _write(target, data)

    def get(self, scope: str, digest: str) -> bytes | None:
        """The bytes; None when they are not there."""
        path = self._folder(scope) / digest
        try:
            for _ in range(_LOOKS):
                with contextlib.suppress(FileNotFoundError):
                    return path.read_bytes()
                time.sleep(0.02)  # while a folder is looked at before it is deleted, it is not in its place
            if not self._root.is_dir():
                raise StageError(f"{self.name} is not there")
            return None
        except OSError as error:
            raise StageError(f"{self.name} cannot be read: {error}") from error

    def expire(self, scope: str, after_ms: int) -> None:
        """Let everything of a scope go after a time."""
        folder = self._folder(scope)
        try:
            if folder.is_dir():
                _write(folder / _EXPIRES, str(self._now_ms() + after_ms).encode())
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{self.name} cannot be written to: {error}") from error

    def keep(self, scope: str) -> None:
        """Take back what :meth:`expire` has said."""
        try:
            (self._folder(scope) / _EXPIRES).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.name} cannot be written to: {error}") from error

    def tidy(self) -> int:
        """Look at one of the 256 parts of the folder, each time at the next one."""
        self._turn = (self._turn + 1) % 256
        part = self._root / f"{self._turn:02x}"
        now_ms, deleted = self._now_ms(), 0
        for folder in _folders(part):
            if deleted == _MOST_DELETED:
                break
            try:
                if folder.name.startswith(_ASIDE):
                    if now_ms - folder.stat().st_ctime * 1000 > _LEFTOVER_MS:  # of a process that died over it
                        self._settle(folder)
                elif _expires_ms(folder) <= now_ms:
                    aside = part / f"{_ASIDE}{os.getpid()}.{threading.get_ident():x}.{folder.name}"
                    folder.rename(aside)
                    deleted += self._settle(aside)
            except FileNotFoundError:
                continue  # somebody else was first
            except OSError as error:
                logger.warning("offloaded values not deleted yet: %s", error)
        return deleted

    def _settle(self, aside: Path) -> bool:
        """Delete a folder that was put aside; or put its files back, when somebody has written to it meanwhile."""
        if not (aside / _EXPIRES).exists():
            home = self._folder(aside.name.rpartition(".")[2])
            home.mkdir(parents=True, exist_ok=True)
            for file in list(aside.iterdir()):
                file.replace(home / file.name)
            aside.rmdir()
            return False
        for file in list(aside.iterdir()):
            if file.name != _EXPIRES:
                file.unlink(missing_ok=True)
        (aside / _EXPIRES).unlink(missing_ok=True)  # last: what has none is put back
        aside.rmdir()
        return True

    def close(self) -> None:
        """Nothing is held."""


def _folders(part: Path) -> Iterator[Path]:
    try:
        with os.scandir(part) as entries:
            yield from [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return


def _expires_ms(folder: Path) -> int:
    try:
        return int((folder / _EXPIRES).read_bytes())
    except FileNotFoundError:
        return _NEVER
    except ValueError:
        logger.warning("not a time: %s", folder / _EXPIRES)
        return _NEVER


def _write(target: Path, data: bytes) -> None:
    write_whole(target, [data])
    sync_folder(target.parent)

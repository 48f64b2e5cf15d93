"""Files that are written whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["sync_folder", "write_whole"]


def write_whole(path: Path, pieces: Iterable[bytes], *, mode: int | None = None) -> None:
    """Put a file in the place of the one that is there, if any: whoever reads sees it before or after.

    It is written beside the old one, and is on the disk when it takes the name.

    Args:
        path: The file; its folder must be there.
        pieces: What is in it, in order.
        mode: Its permissions; None: those that the system gives to any new file.

    Raises:
        OSError: It cannot be written; what was there is as it was.
    """
    temporary = path.with_name(f".{os.urandom(8).hex()}.tmp")
    # With permissions of its own it is nobody else's before it has them.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            file.writelines(pieces)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """See to it that what has been made in a folder is there after a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

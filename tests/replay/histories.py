"""Stored histories: how a file is read and written.

A file is kept for ever and only added to: a release that cannot replay it has broken running workflows. Each holds the
sources of the code and the events as bytes, with what they say beside them for readers.

    python -m tests.replay.record      writes the files of the cases in record.py that do not exist yet
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from orchestration.core import events
from orchestration.core.bundle import Bundle, Import, Unit
from orchestration.types import EntryId

__all__ = ["FOLDER", "read", "write"]

FOLDER = Path(__file__).parent / "histories"
FILE_FORMAT = 1


def _unit(raw: dict[str, Any]) -> dict[str, Any]:
    return {
        "entry_id": EntryId(raw["entry_id"]),
        "source_name": raw["source_name"],
        "source": "\n".join(raw["source"]),
        "modules": tuple(raw["modules"]),
        "imports": tuple(Import(alias=alias, unit=Unit(**_unit(unit))) for alias, unit in raw["imports"].items()),
    }


def _plain_unit(unit: Unit) -> dict[str, Any]:
    return {
        "entry_id": unit.entry_id,
        "source_name": unit.source_name,
        "source": unit.source.split("\n"),
        "modules": list(unit.modules),
        "imports": {item.alias: _plain_unit(item.unit) for item in unit.imports},
    }


def read(path: Path) -> tuple[Bundle, list[bytes]]:
    """The code and the events of a file."""
    raw = json.loads(path.read_text())
    assert raw["file_format"] == FILE_FORMAT
    bundle = Bundle(**_unit(raw["bundle"]), method=raw["bundle"]["method"], api_level=raw["bundle"]["api_level"])
    return bundle, [base64.b64decode(event["bytes"]) for event in raw["events"]]


def write(path: Path, bundle: Bundle, history: list[bytes]) -> None:
    """Write a new file."""
    assert not path.exists(), "stored histories are not changed"
    raw = {
        "file_format": FILE_FORMAT,
        "bundle": _plain_unit(bundle) | {"method": bundle.method, "api_level": bundle.api_level},
        "events": [{"says": events.describe(event), "bytes": base64.b64encode(event).decode()} for event in history],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n")

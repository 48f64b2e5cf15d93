"""Entries as code may see them: everything but secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final

from orchestration.registry.entry import Entry
from orchestration.registry.fields import thaw
from orchestration.registry.kinds.free import RegistryEntry

__all__ = ["exposed_data", "exposed_entry"]

_HIDDEN_KINDS: Final = (
    "cloudstorage.*", "config.*", "db.*", "exec.*", "network", "network.*", "queue.driver.amqp", "queue.driver.sqs",
)  # fmt: skip
"""What these say is, for the most part, how to sign in somewhere."""

_HIDDEN_FIELDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "celery.client": frozenset({"auth"}),
        "env.storage.static": frozenset({"values"}),
        "env.variable": frozenset({"default"}),
        "temporal.client": frozenset({"auth"}),
    }
)

_SECRET_NAME: Final = re.compile(
    r"password|passwd|passphrase|secret|credential|api_?key|access_?key|private_?key|key_pem|token_key|dsn",
    re.IGNORECASE,
)
_URL_PASSWORD: Final = re.compile(r"\b([a-z][a-z0-9+.-]*://[^/\s:@]*):[^/\s]+@", re.IGNORECASE)


def exposed_entry(entry: Entry) -> dict[str, Any]:
    """The entry as plain data: ``id``, ``kind``, ``meta`` and ``data``."""
    return {"id": entry.id, "kind": entry.kind, "meta": thaw(entry.meta), "data": exposed_data(entry)}


def exposed_data(entry: Entry) -> dict[str, Any]:
    """The fields of an entry, without those that hold secrets.

    Of a ``registry.entry`` all of them, with placeholders replaced: they are the application's own settings. Of all
    others as they are written, without the fields that are known to hold a secret or are named like one, and with
    ``***`` for passwords in URLs.
    """
    if isinstance(entry, RegistryEntry):
        return dict(thaw(entry.values))
    if any(fnmatchcase(entry.kind, pattern) for pattern in _HIDDEN_KINDS):
        return {}
    hidden = _HIDDEN_FIELDS.get(entry.kind, frozenset())
    found = {key: value for key, value in thaw(entry.data).items() if key not in hidden}
    source = found.pop("source", None)  # code; text in it that looks like a URL is its own
    shown = dict(_without_secrets(found))
    return shown if source is None else {**shown, "source": source}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_secrets(item) for key, item in value.items() if not _SECRET_NAME.search(str(key))}
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    return _URL_PASSWORD.sub(r"\1:***@", value) if isinstance(value, str) else value

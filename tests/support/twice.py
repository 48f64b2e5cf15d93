"""Imported by a worker, has each of its messages arrive twice."""

from __future__ import annotations

from typing import Any

import kombu

_Producer: Any = kombu.Producer
_publish = _Producer._publish


def _publish_twice(producer: Any, *args: Any, **options: Any) -> Any:
    _publish(producer, *args, **options)
    return _publish(producer, *args, **options)


_Producer._publish = _publish_twice

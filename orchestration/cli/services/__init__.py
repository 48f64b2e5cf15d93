"""``orchestration services``: processes that are kept running."""

from __future__ import annotations

from orchestration.cli.services.group import services

__all__ = ["services"]

"""``orchestration schedule``: workflows that are started again and again."""

from __future__ import annotations

from orchestration.cli.schedules.group import schedule

__all__ = ["schedule"]

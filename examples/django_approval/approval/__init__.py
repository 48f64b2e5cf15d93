"""The project. Its Celery application is loaded with it, so that tasks find it."""

from __future__ import annotations

from approval.celery import app as celery_app

__all__ = ["celery_app"]

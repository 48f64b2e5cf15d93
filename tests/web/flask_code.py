"""Code of entries that asks which application it runs for."""

from __future__ import annotations

from flask import current_app


def where_am_i() -> str:
    return f"{current_app.name} {current_app.config['COMPANY']}"

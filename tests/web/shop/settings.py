"""Settings of the project, for workers and web processes. Tests in this process configure Django with the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent
FOLDER = Path(os.environ.get("SHOP_FOLDER", "/nonexistent"))
SECRET_KEY = "not-a-secret"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast
ROOT_URLCONF = "tests.web.shop.urls"
STATIC_URL = "static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "orchestration.integrations.django",
    "tests.web.shop.orders",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
_sqlite = {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {"timeout": 20}}
DATABASES: dict[str, dict[str, Any]] = {
    "default": {**_sqlite, "NAME": str(FOLDER / "shop.sqlite3")},
    "archive": {**_sqlite, "NAME": str(FOLDER / "archive.sqlite3")},
    "private": {**_sqlite, "NAME": str(FOLDER / "private.sqlite3")},
    "unwatched": {**_sqlite, "NAME": str(FOLDER / "unwatched.sqlite3")},
}
if os.environ.get("SHOP_POSTGRES"):
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql", "HOST": os.environ["SHOP_POSTGRES"], "USER": "shop", "NAME": "shop",
    }  # fmt: skip
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CELERY_BROKER_URL = CELERY_RESULT_BACKEND = os.environ.get("REDIS_URL", "redis://localhost:1/0")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

ORCHESTRATION: dict[str, Any] = {
    "app": "tests.web.shop.celery:app",
    "retention_ms": "2d",
    "outbox_databases": os.environ.get("SHOP_OUTBOX", "default,archive,private").split(","),
    "outbox_interval_ms": 200,
    "outbox_immediate": os.environ.get("SHOP_IMMEDIATE", "1") == "1",
}

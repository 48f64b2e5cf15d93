"""Workers of the shop, which have never heard of the package, beside workers with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.projects import Deployment, Project
from tests.support.workers import WorkerProcess, start_worker

__all__ = ["FOLDER", "TASKS", "bodies", "shop", "shop_worker"]

FOLDER = Path(__file__).parent
QUEUES = ("shop", "shop.mail")

TASKS = (
    "price", "who", "reserve", "ship", "pack", "slow", "once_slow", "soft", "soft_caught", "hard", "ignores", "rejects",
    "dies", "quiet", "odd", "total", "invoice", "unheard_of",
)  # fmt: skip


def shop(**options: Any) -> tuple[Project, str]:
    """Definitions that make activities of the shop's tasks, and a workflow that calls one; returns its id too."""
    project = Project("shop", **options)
    quick = {"activity.start_to_close_timeout": "60s"}
    for name in TASKS:
        project.entry(name, "function.celery", task=f"shop.{name}", queue="shop", meta={"options": quick})
    project.entry("send_mail", "function.celery", task="shop.mail.send", queue="shop.mail", meta={"options": quick})
    call = project.workflow("call", """
        local funcs = require("funcs")
        local function main(target, options, ...)
            local result, err = funcs.new():with_options(options):call("shop:" .. target, ...)
            if err == nil then return { result = result } end
            return { kind = err:kind(), message = err:message(), retryable = err:retryable(), details = err:details() }
        end
        return main
    """)
    return project, call


def shop_worker(deployment: Deployment, **options: Any) -> WorkerProcess:
    """Start a worker of the shop; other arguments are those of ``start_worker``."""
    url = deployment.redis_url
    env = {
        "SHOP_BROKER_URL": deployment.broker_url, "SHOP_RESULT_BACKEND": url, "SHOP_LEDGER": str(deployment.folder),
        "SHOP_BEAT_FILE": str(deployment.folder / "beat"), **options.pop("env", {}),
    }  # fmt: skip
    options.setdefault("pool", "prefork")
    options.setdefault("queues", QUEUES)
    worker = start_worker(
        redis_url=url, log_dir=deployment.folder, app="shop_project.celery_app", cwd=FOLDER, env=env, **options
    )
    deployment.workers.append(worker)
    return worker


def bodies(deployment: Deployment, key: str) -> int:
    """How often a body with this key has begun."""
    file = deployment.folder / f"{key}.ledger"
    return len(file.read_text().splitlines()) if file.exists() else 0

"""Serves a worker's metrics over HTTP, from its main process, those of its pool's processes with them."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
import threading
from typing import Any, Final

from celery import bootsteps

from orchestration.settings import Settings

__all__ = ["MetricsStep", "prepare_metrics"]

logger = logging.getLogger(__name__)

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


def prepare_metrics(settings: Settings, worker: Any) -> None:
    """Before a pool of processes is made: have them count in files that the main process can read.

    ``prometheus_client`` takes the folder from the environment when it is imported.

    Args:
        settings: Of the application.
        worker: Celery's worker.
    """
    if not settings.metrics_port or os.environ.get(VARIABLE):
        return
    if "prefork" not in str(getattr(worker.pool_cls, "__module__", worker.pool_cls)):
        return
    folder = tempfile.mkdtemp(prefix="orchestration-metrics-")
    os.environ[VARIABLE] = folder
    atexit.register(_remove, folder, os.getpid())
    values: Any = sys.modules.get("prometheus_client.values")
    if values is None:
        return
    values.ValueClass = values.get_value_class()
    if found := _made_before():
        logger.warning(
            "the metrics %s were made before the worker was set up, and are missing at orchestration_metrics_port: set "
            "%s in the environment of the worker", ", ".join(found), VARIABLE,
        )  # fmt: skip


def _made_before() -> list[str]:
    """Names of metrics in the default registry that are not those of the process itself."""
    import prometheus_client

    own = (prometheus_client.ProcessCollector, prometheus_client.PlatformCollector, prometheus_client.GCCollector)
    collectors: Any = prometheus_client.REGISTRY._collector_to_names
    return sorted(names[0] for found, names in collectors.items() if names and not isinstance(found, own))


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


class MetricsStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Opens the port while the worker runs."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def include_if(self, parent: Any) -> bool:
        """Only where a port is set."""
        return bool(parent.app.orchestration.settings.metrics_port)

    def start(self, parent: Any) -> None:
        """The pool is up."""
        from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
        from prometheus_client.multiprocess import MultiProcessCollector

        from orchestration.telemetry.store_metrics import StoreCollector

        runtime = parent.app.orchestration.runtime
        settings = runtime.settings
        registry = CollectorRegistry()
        if os.environ.get(VARIABLE):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(_All(REGISTRY))
        registry.register(StoreCollector([runtime.store(namespace) for namespace in runtime.namespaces]))
        try:
            self._server, self._thread = start_http_server(
                settings.metrics_port, addr=settings.metrics_address, registry=registry
            )
        except OSError as error:
            # A worker does its work without being watched.
            logger.error(
                "metrics are not served: port %s of %s: %s. Each worker of a machine needs a port of its own: set "
                "ORCHESTRATION_METRICS_PORT", settings.metrics_port, settings.metrics_address, error,
            )  # fmt: skip
            return
        logger.info("metrics are served on port %s", settings.metrics_port)

    def stop(self, parent: Any) -> None:
        """The worker goes down."""
        del parent
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    terminate = stop


class _All:
    """All that another registry collects."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def collect(self) -> Any:
        return self._registry.collect()

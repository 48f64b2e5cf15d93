"""``orchestration metrics``: the gauges of the store, for Prometheus or for people."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.output import print_json
from orchestration.cli.session import session_of, shared_options
from orchestration.telemetry.store_metrics import STORE_METRICS, exposition, read_store

__all__ = ["metrics"]


@command(short_help="gauges of the store, for Prometheus")
@shared_options
@click.pass_context
def metrics(context: click.Context, /) -> None:
    """Print gauges of the store in the text format of Prometheus.

    Open and parked runs, what waits and since when. Needs no worker, and no
    Prometheus. What workers count is served by them: see the setting
    orchestration_metrics_port.

    \b
    Examples:
      orchestration metrics
      orchestration metrics --json

    \b
    Next:
      orchestration doctor     is what it all stands on sound?
    """
    session = session_of(context)
    application = load_application(session)
    stores = [application.orchestration.runtime.store(namespace) for namespace in application.namespaces()]
    readings = [read_store(store) for store in stores]
    if session.json:
        print_json({
            found.namespace: {metric.name: value for metric, value in zip(STORE_METRICS, found.values, strict=True)}
            for found in readings
        })  # fmt: skip
        return
    click.echo(exposition(readings), nl=False)

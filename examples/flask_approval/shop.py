"""Orders that a person approves: enqueued, shown and decided over HTTP."""

from __future__ import annotations

import os
from typing import Any

from celery import shared_task
from flask import Flask, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from orchestration.errors import PayloadError, WorkflowClosedError, WorkflowNotFoundError
from orchestration.integrations.flask import Workflows

workflows = Workflows()


def create_app() -> Flask:
    """The application; ``flask --app shop run`` and ``make_celery.py`` call it."""
    app = Flask(__name__)
    redis_url = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
    app.config["CELERY"] = {"broker_url": redis_url, "result_backend": redis_url}
    app.config["ORCHESTRATION"] = {"retention_ms": "30d"}
    app.config["COMPANY"] = "ACME"
    workflows.init_app(app)

    @app.post("/orders")
    def enqueue() -> ResponseReturnValue:
        order = request.get_json()
        if not isinstance(order, dict) or not isinstance(order.get("amount"), int):
            abort(400, "amount is a whole number")
        handle = workflows.client.start_workflow("orders:approve", order, search={"amount": order["amount"]})
        return jsonify(id=handle.id), 202

    @app.get("/orders")
    def show_all() -> ResponseReturnValue:
        runs = workflows.client.list_workflows(request.args.get("where"), type="orders:approve", limit=50)
        return jsonify([{"id": run.workflow_id, "status": run.status} for run in runs])

    @app.get("/orders/<order_id>")
    def show(order_id: str) -> ResponseReturnValue:
        run = workflows.client.get_workflow(order_id).describe()
        waits_for = [place.waits_for for place in run.places]
        return jsonify(id=order_id, status=run.status, waits_for=waits_for)

    @app.post("/orders/<order_id>/decision")
    def decide(order_id: str) -> ResponseReturnValue:
        decision = request.get_json()
        if not isinstance(decision, dict) or not isinstance(decision.get("approved"), bool):
            abort(400, "approved is true or false")
        workflows.client.get_workflow(order_id).signal("decision", decision)
        return jsonify(id=order_id), 202

    @app.errorhandler(ValueError)  # a condition that cannot be read
    @app.errorhandler(PayloadError)  # a value that cannot be carried
    def refused(error: Exception) -> ResponseReturnValue:
        return jsonify(error=str(error)), 400

    @app.errorhandler(WorkflowNotFoundError)
    def not_found(error: WorkflowNotFoundError) -> ResponseReturnValue:
        return jsonify(error=str(error)), 404

    @app.errorhandler(WorkflowClosedError)
    def closed(error: WorkflowClosedError) -> ResponseReturnValue:
        return jsonify(error=str(error)), 409

    return app


def invoice(order: dict[str, Any]) -> str:
    """An entry ``function.python``: it runs in the application's context, on a worker."""
    return f"{current_app.config['COMPANY']} invoice for {order['amount']}"


@shared_task(name="orders.reject")
def reject(order: dict[str, Any]) -> None:
    """An ordinary Celery task."""
    current_app.logger.info("rejected: %s", order["what"])

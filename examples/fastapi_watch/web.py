"""Jobs that are watched while they run: server-sent events of what changes."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Annotated

from celery import Celery
from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse

from orchestration import AsyncClient, Orchestration
from orchestration.client import Description
from orchestration.errors import WorkflowClosedError, WorkflowNotFoundError

redis_url = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
celery_app = Celery("jobs", broker=redis_url, backend=redis_url)
Orchestration(celery_app, config=os.path.join(os.path.dirname(__file__), "workflows"))

app = FastAPI()
client = AsyncClient(celery_app)


@app.exception_handler(WorkflowNotFoundError)
async def not_found(_: Request, error: WorkflowNotFoundError) -> JSONResponse:
    """No job has this id."""
    return JSONResponse({"detail": str(error)}, 404)


@app.exception_handler(WorkflowClosedError)
async def closed(_: Request, error: WorkflowClosedError) -> JSONResponse:
    """The job has ended."""
    return JSONResponse({"detail": str(error)}, 409)


@app.post("/jobs", status_code=202)
async def start(steps: Annotated[int, Query(ge=0, le=1000)] = 3) -> dict[str, str]:
    """Start a job."""
    handle = await client.start_workflow("jobs:steps", steps)
    return {"id": handle.id}


@app.post("/jobs/{job_id}/go", status_code=202)
async def go(job_id: str) -> dict[str, str]:
    """Let it take its next step."""
    await client.get_workflow(job_id).signal("go")
    return {"id": job_id}


@app.get("/jobs/{job_id}/events")
async def events(job_id: str) -> StreamingResponse:
    """What it does, as ``text/event-stream``, until it has ended or the browser goes away."""
    handle = client.get_workflow(job_id)
    await handle.describe()

    async def stream() -> AsyncIterator[str]:
        async for seen in handle.watch(every=0.5):
            yield message(seen)
        yield "event: end\ndata: {}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def message(seen: Description) -> str:
    """One event: JSON has no line breaks, so nothing in it can be taken for another field."""
    waits_for = [place.waits_for for place in seen.places]
    data = {"status": seen.status, "events": seen.history_length, "waits_for": waits_for}
    return f"id: {seen.history_length}\ndata: {json.dumps(data)}\n\n"

"""Start a workflow and get its result: from Celery, or with a client."""

from __future__ import annotations

from orchestration import AsyncClient
from tests.support.projects import Project

project = Project()

greet = project.workflow(
    "greet",
    """
    local function main(name, more)
        return { text = "Hello, " .. name, more = more }
    end
    return main
    """,
)


def test_a_workflow_is_started_by_name_like_any_task(running):
    result = running.app.send_task(greet, args=["Ana"])
    assert result.get(timeout=10) == {"text": "Hello, Ana"}
    assert result.state == "SUCCESS"


def test_delay_and_apply_async(running):
    task = running.app.tasks[greet]
    assert task.delay("Bruno").get(timeout=10) == {"text": "Hello, Bruno"}
    assert task.apply_async(("Carla",)).get(timeout=10) == {"text": "Hello, Carla"}


def test_keyword_arguments_become_one_table_the_last_argument(running):
    result = running.app.tasks[greet].delay("Dario", city="Madrid", visits=3)
    assert result.get(timeout=10) == {"text": "Hello, Dario", "more": {"city": "Madrid", "visits": 3}}


def test_a_client_gives_a_handle(client):
    handle = client.start_workflow(greet, "Elena", id="greeting-1")
    assert handle.result(timeout=10) == {"text": "Hello, Elena"}
    description = handle.describe()
    assert (description.workflow_id, description.type, description.status) == ("greeting-1", greet, "completed")


def test_a_handle_is_found_again_by_the_workflow_id(client):
    client.start_workflow(greet, "Fabio", id="greeting-2")
    assert client.get_workflow("greeting-2").result(timeout=10) == {"text": "Hello, Fabio"}


def test_an_async_result_and_a_handle_are_two_views_of_one_workflow(running):
    started_by_celery = running.app.send_task(greet, args=["Gina"])
    assert running.client.get_workflow(started_by_celery.id).result(timeout=10) == {"text": "Hello, Gina"}
    started_by_client = running.client.start_workflow(greet, "Hugo", id="greeting-3")
    started_by_client.result(timeout=10)
    assert running.app.AsyncResult(started_by_client.run_id).get(timeout=10) == {"text": "Hello, Hugo"}


async def _greet_with_an_event_loop(running):
    client = AsyncClient(running.app)
    handle = await client.start_workflow(greet, "Ines", id="greeting-4")
    return await handle.result(timeout=10)


def test_the_same_with_asyncio(running):
    import asyncio

    assert asyncio.run(_greet_with_an_event_loop(running)) == {"text": "Hello, Ines"}

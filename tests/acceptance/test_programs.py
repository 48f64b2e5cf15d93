"""Random workflows on a real worker and in memory: the same results, the same histories when the inputs come alike."""

from __future__ import annotations

import random

import pytest

from orchestration.testing import WorkflowEnvironment, replay
from tests.support import wait_until
from tests.support.orders import MirrorEnvironment, shape
from tests.support.programs import add_helpers, make_program, replace_activities
from tests.support.projects import Project

SEEDS = range(8)

project = Project(tasks=["tests.support.programs"])
add_helpers(project)
programs = {
    project.workflow(f"program{seed}", program.source): program
    for seed in SEEDS
    for program in [make_program(random.Random(seed))]
}


def runs_of(client):
    """Every run that is kept: the programs and their children."""
    found = [client.get_workflow(seen.workflow_id, seen.run_id) for seen in client.list_workflows(limit=1000)]
    return sorted(found, key=lambda run: run.id)


def shapes(histories):
    return sorted(sorted(shape(history).items()) for history in histories)


@pytest.fixture(scope="module")
def finished(running):
    """All programs, run to their end at the same time."""
    client = running.client
    handles = {entry: client.start_workflow(entry, id=entry.split(":")[1]) for entry in programs}
    results = {entry: handle.result(timeout=60) for entry, handle in handles.items()}
    wait_until(lambda: not client.list_workflows(status="open"), message="children ended", deadline_s=20)
    return results


def test_each_gives_the_result_that_its_text_says(finished):
    assert finished == {entry: program.result for entry, program in programs.items()}


def test_the_engine_in_memory_writes_the_same_history_byte_for_byte_when_given_the_same_inputs(finished, client):
    registry = client._runtime.registry
    runs = runs_of(client)
    assert len(runs) > len(programs)
    for run in runs:
        recorded = replay(run)
        with MirrorEnvironment(registry=registry, shards=client._runtime.settings.shards) as mirror:
            assert mirror.mirror(recorded) == list(recorded.events), run.id


def test_a_worker_and_an_engine_in_memory_of_its_own_order_do_the_same_things(finished, client):
    registry = client._runtime.registry
    for entry in programs:
        with WorkflowEnvironment(registry=registry) as env:
            replace_activities(env)
            handle = env.start(entry, id=entry.split(":")[1])
            assert handle.result() == finished[entry]
            real = client.get_workflow(handle.id)
            assert shape(handle.history()) == shape(real.history())
            env.run_until_idle()
            mine = [run.history() for run in runs_of(env.client)]
            children = [seen for seen in client.list_workflows(limit=1000) if seen.workflow_id.startswith(real.run_id)]
            theirs = [real.history(), *(client.get_workflow(seen.workflow_id).history() for seen in children)]
            assert shapes(mine) == shapes(theirs)

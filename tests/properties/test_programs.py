"""Random workflows give the same, whatever the order in which messages, answers and timers arrive."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.client import WorkflowHandle
from orchestration.registry import Registry, load_registry
from orchestration.testing import WorkflowEnvironment, read_history, replay
from tests.support.orders import MirrorEnvironment, ShuffledEnvironment, shape
from tests.support.programs import Program, add_helpers, make_program, replace_activities
from tests.support.projects import Project


def registry_of(program: Program, folder: Path) -> Registry:
    project = Project()
    add_helpers(project)
    project.workflow("program", program.source)
    return load_registry(project.write(folder))


def all_runs(env: WorkflowEnvironment) -> list[WorkflowHandle]:
    """The program and its children, whose ids name it."""
    return [
        env.client.get_workflow(seen.workflow_id, seen.run_id)
        for seen in sorted(env.client.list_workflows(), key=lambda seen: (seen.type, seen.workflow_id))
    ]


def run_in(make: Callable[..., WorkflowEnvironment], program: Program, registry: Registry, **options: Any) -> Any:
    """Run a program; the shapes of its history and of its children's, each of which replays and is written again."""
    with make(registry=registry, **options) as env:
        replace_activities(env)
        handle = env.start("app:program", id="program")
        assert handle.result() == program.result
        env.run_until_idle()
        runs = all_runs(env)
        assert {run.describe().status for run in runs} <= {"completed", "failed"}
        for run in runs:
            recorded = replay(run)
            with MirrorEnvironment(registry=registry) as mirror:
                assert mirror.mirror(recorded) == list(recorded.events)
        shapes = [sorted(shape(run.history()).items()) for run in runs]
        return read_history(handle), sorted(shapes)


def check(folder: Path, program_seed: int, order_seeds: list[int]) -> None:
    program = make_program(random.Random(program_seed))
    registry = registry_of(program, folder)
    _, expected = run_in(WorkflowEnvironment, program, registry)
    for seed in order_seeds:
        _, shapes = run_in(
            lambda seed=seed, **options: ShuffledEnvironment(random.Random(seed), **options), program, registry
        )
        assert shapes == expected


SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("program")


@given(program_seed=SEEDS, order_seeds=st.lists(SEEDS, min_size=2, max_size=3))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_order_of_deliveries_changes_nothing(folder: Path, program_seed: int, order_seeds: list[int]) -> None:
    check(folder, program_seed, order_seeds)


@pytest.mark.slow
@given(program_seed=SEEDS, order_seeds=st.lists(SEEDS, min_size=3, max_size=6))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.timeout(900)
def test_the_order_of_deliveries_changes_nothing_in_many_programs(
    folder: Path, program_seed: int, order_seeds: list[int]
) -> None:
    check(folder, program_seed, order_seeds)

"""``orchestration schedule`` as people run it, beside a worker."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support import wait_until
from tests.support.projects import Deployment, Project
from tests.support.warm_cli import ProjectCli, project_cli

project = Project(env={"ORCHESTRATION_SWEEP_INTERVAL_MS": "100"})
job = project.workflow("job", "return function(name) return name end")


@pytest.fixture(scope="module")
def cli(running: Deployment) -> Iterator[ProjectCli]:
    with project_cli(running) as run:
        yield run


def test_a_schedule_from_its_making_to_its_end(cli: ProjectCli) -> None:
    made = cli(
        "schedule", "create", "nightly", job, "--cron", "0 2 * * *", "--zone", "Europe/Berlin", "--input", '"eu"',
        "--overlap", "buffer_one", "--catchup-window", "6h", "--note", "for the bank",
    )  # fmt: skip
    assert made.stdout.startswith("made nightly: next 20")

    assert cli("schedule", "pause", "nightly", "--note", "moving").stdout == "nightly is paused\n"
    listed = cli("schedule", "list").stdout
    assert "nightly" in listed
    assert "paused" in listed

    cli("schedule", "trigger", "nightly")

    def facts() -> dict:
        return json.loads(cli("schedule", "show", "nightly", "--json").stdout)

    wait_until(lambda: facts()["counters"].get("started") == 1 and not facts()["running"])
    shown = cli("schedule", "show", "nightly").stdout
    for part in (
        "paused: moving", "0 2 * * * Europe/Berlin", 'app:job ["eu"]', "overlap buffer_one, catches up for 6:00:00",
        "last actions", "trigger",
    ):  # fmt: skip
        assert part in shown

    assert "goes on: next 20" in cli("schedule", "resume", "nightly").stdout
    cli("schedule", "update", "nightly", "--every", "12h", "--jitter", "1s", "--max-actions", "3")
    seen = facts()
    assert (seen["spec"]["cron"], seen["spec"]["interval_ms"], seen["remaining"]) == ([], 43_200_000, 3)
    assert seen["spec"]["time_zone"] == "Europe/Berlin"
    assert seen["policy"]["catchup_window_ms"] == 21_600_000

    cli("schedule", "backfill", "nightly", "2026-01-01", "2026-01-01T12:00Z")
    wait_until(lambda: facts()["counters"]["started"] == 3)
    assert json.loads(cli("schedule", "delete", "nightly", "--json").stdout) == {"id": "nightly", "done": "delete"}
    assert "nightly" not in cli("schedule", "list").stdout


def test_what_is_not_there_is_taken_or_says_nothing(cli: ProjectCli) -> None:
    cli("schedule", "create", "taken", job, "--cron", "@yearly")
    for words, code, part in (
        (("create", "taken", job, "--cron", "@daily"), 6, "exists already: update it"),
        (("create", "new", "app:jbo", "--cron", "@daily"), 3, "app:job"),
        (("show", "nobody"), 3, "`orchestration schedule list` shows those"),
        (("trigger", "nobody"), 3, "no schedule has the id 'nobody'"),
        (("update", "taken"), 2, "nothing is to be changed"),
        (("backfill", "taken", "2026-01-02", "2026-01-01"), 2, "before the start"),
    ):
        done = cli("schedule", *words, code=code)
        assert part in done.stderr
        assert done.stderr.count("\n") == 1
    cli("schedule", "delete", "taken")


def test_list_goes_on_behind_the_last_one(cli: ProjectCli) -> None:
    for name in ("p/a", "p/b", "p/c"):
        cli("schedule", "create", name, job, "--every", "1h", "--paused")
    assert "--after p/b shows more" in cli("schedule", "list", "--prefix", "p/", "--limit", "2").stdout
    rest = cli("schedule", "list", "--prefix", "p/", "--after", "p/b", "--json").stdout
    assert [json.loads(line)["id"] for line in rest.splitlines()] == ["p/c"]

"""What must run before a service: read from requirements and references, checked when definitions are loaded."""

from __future__ import annotations

import textwrap

import pytest

from orchestration.core.supervision import Policy
from orchestration.registry.kinds.processes import ProcessService, Scope
from orchestration.registry.services import ServicePlan, policy_of

HEAD = """\
namespace: app
entries:
  - {name: host, kind: process.host}
  - {name: body, kind: process.lua, source: return 1}
  - {name: job, kind: function.lua, method: run, source: return 1}
"""


def service(name: str, *requires: str, key: str = "requires", auto: bool = True, more: str = "") -> str:
    return textwrap.indent(
        f"- name: {name}\n  kind: process.service\n  process: body\n  host: host\n{more}"
        f"  lifecycle: {{auto_start: {str(auto).lower()}, {key}: [{', '.join(requires)}]}}\n",
        "  ",
    )


def test_circular_requires_are_refused_with_the_whole_circle(tree):
    tree.write("a.yaml", HEAD + service("a", "b") + service("b", "c") + service("c", "a", key="depends_on"))
    (problem,) = tree.problems()
    assert problem.startswith("a.yaml:10: entry app:a: field 'lifecycle.requires[0]' = 'app:b': services wait")
    assert "app:a (a.yaml:6) -> app:b (a.yaml:11) -> app:c (a.yaml:16) -> app:a" in problem
    assert problem.endswith("remove one of these requirements")


def test_a_service_that_requires_itself_is_refused(tree):
    tree.write("a.yaml", HEAD + service("a", "a"))
    (problem,) = tree.problems()
    assert "app:a (a.yaml:6) -> app:a;" in problem


def test_each_circle_is_told(tree):
    tree.write("a.yaml", HEAD + service("a", "b") + service("b", "a") + service("c", "d") + service("d", "c"))
    assert len(tree.problems()) == 2


def test_a_host_that_waits_for_a_service_on_itself_is_refused(tree):
    text = HEAD.replace("kind: process.host", "kind: process.host, lifecycle: {requires: [a]}")
    tree.write("a.yaml", text + service("a"))
    (problem,) = tree.problems()
    assert "app:a (a.yaml:6) -> app:host (a.yaml:3) -> app:a" in problem
    assert "field 'host' = 'app:host'" in problem


def test_a_requirement_that_is_no_service_is_refused(tree):
    tree.write("a.yaml", HEAD + service("a", "job"))
    (problem,) = tree.problems()
    assert "field 'lifecycle.requires[0]' = 'app:job': is a function.lua, which does not run as a service" in problem


def test_a_requirement_of_a_kind_that_is_out_of_scope_is_accepted(tree):
    tree.write("a.yaml", HEAD + "  - {name: web, kind: http.service, addr: ':80'}\n" + service("a", "web"))
    assert ServicePlan(tree.load()).needs("app:a") == ()


def test_a_missing_requirement_is_told_once(tree):
    tree.write("a.yaml", HEAD + service("a", "nothing"))
    (problem,) = tree.problems()
    assert "there is no entry app:nothing" in problem


def test_services_start_after_what_they_require(tree):
    tree.write("a.yaml", HEAD + service("a", "z") + service("m", "a", key="depends_on") + service("z"))
    plan = ServicePlan(tree.load())
    assert list(plan.services) == ["app:z", "app:a", "app:m"]
    assert plan.needs("app:m") == ("app:a",)


def test_what_a_host_requires_starts_before_the_services_on_it(tree):
    text = HEAD.replace("kind: process.host", "kind: process.host, lifecycle: {requires: [base]}")
    text += "  - {name: other, kind: process.host}\n" + service("a")
    text += service("base").replace("host: host", "host: other")
    tree.write("a.yaml", text)
    plan = ServicePlan(tree.load())
    assert list(plan.services) == ["app:base", "app:a"]
    assert plan.needs("app:a") == ("app:base",)


def test_what_a_service_requires_is_wanted_with_it_unless_an_operator_says_otherwise(tree):
    tree.write("a.yaml", HEAD + service("a", "b") + service("b", "c", auto=False) + service("c", auto=False)
               + service("d", auto=False))  # fmt: skip
    plan = ServicePlan(tree.load())
    assert plan.wanted({}) == {"app:a", "app:b", "app:c"}
    assert plan.wanted({"app:b": False}) == {"app:a"}
    assert plan.wanted({"app:a": False}) == set()
    assert plan.wanted({"app:d": True, "app:a": False}) == {"app:d"}


def test_scope_is_the_deployment_unless_the_entry_says_worker(tree):
    tree.write("a.yaml", HEAD + service("a") + service("b", more="  scope: worker\n"))
    registry = tree.load()
    assert [entry.scope for entry in registry.of(ProcessService)] == [Scope.DEPLOYMENT, Scope.WORKER]


def test_a_wrong_scope_is_refused(tree):
    tree.write("a.yaml", HEAD + service("a", more="  scope: galaxy\n"))
    (problem,) = tree.problems()
    assert "field 'scope' = 'galaxy'" in problem
    assert "deployment" in problem


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{}", Policy()),
        (
            "{start_timeout: 1s, stop_timeout: 2s, stable_threshold: 3s, restart: {initial_delay: 4s, max_delay: 5s, backoff_factor: 3, jitter: 0, max_attempts: 7}}",  # noqa: E501 - one line of YAML
            Policy(start_timeout_ms=1000, stop_timeout_ms=2000, stable_threshold_ms=3000, initial_delay_ms=4000,
                   max_delay_ms=5000, backoff_factor=3, jitter=0, max_attempts=7),
        ),
    ],
)  # fmt: skip
def test_the_policy_is_what_the_lifecycle_says(tree, written, expected):
    fields = f"kind: process.service, process: body, host: host, lifecycle: {written}"
    tree.write("a.yaml", HEAD + f"  - {{name: s, {fields}}}")
    (entry,) = tree.load().of(ProcessService)
    assert policy_of(entry.lifecycle) == expected


def test_a_lifecycle_in_a_process_has_no_effect_and_is_said(tree):
    tree.write("a.yaml", HEAD + "  - {name: p, kind: process.lua, source: return 1, lifecycle: {auto_start: true}}\n")
    assert any("field 'lifecycle'" in warning for warning in tree.warnings()), tree.warnings()

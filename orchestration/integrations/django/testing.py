"""For tests of projects: the project's workflows in memory, and what is started in transactions goes to them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from orchestration.integrations.django.application import project_orchestration, standing_in
from orchestration.testing import WorkflowEnvironment

__all__ = ["workflows"]


@contextlib.contextmanager
def workflows(**options: Any) -> Iterator[WorkflowEnvironment]:
    """The project's definitions in an environment without Redis, broker and worker, for the time of a block.

    What :func:`start_workflow` and its like put into the outbox is sent to it when the transaction commits. In a
    ``TestCase``, which never commits, ``captureOnCommitCallbacks(execute=True)`` stands for that.

    Args:
        options: Those of :class:`orchestration.testing.WorkflowEnvironment`.

    Example:
        ::

            class OrderTest(TestCase):
                def test_an_order_is_fulfilled(self):
                    with workflows() as env:
                        env.activity("orders:ship", lambda order: "shipped")
                        with self.captureOnCommitCallbacks(execute=True):
                            handle = start_workflow("orders:fulfil", "A-1")
                        assert handle.result() == "shipped"
    """
    registry = project_orchestration().registry
    with WorkflowEnvironment(registry=registry, **options) as environment, standing_in(environment._orchestration):
        yield environment

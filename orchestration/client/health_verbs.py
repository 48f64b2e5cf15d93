"""The verbs of a client that look after the deployment: the doctor and the audit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestration.client.verbs import Verbs
from orchestration.core.checks import check_kind, check_text
from orchestration.health.audit import RunAudit, audit_runs
from orchestration.health.doctor import examine
from orchestration.health.findings import Finding

__all__ = ["HealthVerbs"]


class HealthVerbs(Verbs):
    """What a :class:`~orchestration.client.Client` does to see whether all is well."""

    def doctor(self, only: Sequence[str] = (), *, timeout: float = 8.0) -> Iterator[Finding]:
        """Look at Redis, broker, settings, clocks, workers, code and runs; docs/how-to/operate.md has every check.

        Args:
            only: Names of checks; none: all.
            timeout: Seconds that workers have to answer; a check may take twice as long. What cannot be looked at says
                why.

        Returns:
            Findings as they are made, for each check at least one, also when all is well.

        Raises:
            ValueError: There is no such check.
            StoreUnavailableError: The Redis of the runs does not answer.
        """
        names = [check_text("the name of a check", name, least=1) for name in only]
        return examine(self._runtime, self.namespace, only=names, timeout_s=_seconds(timeout))

    def audit(self, ids: Sequence[str] = (), *, repair: bool = False) -> Iterator[RunAudit]:
        """Check that every open run has something that will move it, and each of its open commands something too.

        Safe while workers run, and safe to repeat.

        Args:
            ids: Workflow ids; of each the latest run is looked at, if it is open. None: every open run.
            repair: Put back what is lost and can be made again.

        Returns:
            What it says of each run, one after the other; few of them are in memory at once.

        Raises:
            WorkflowNotFoundError: There is no workflow of an id.
            StoreUnavailableError: Redis does not answer.
        """
        check_kind("repair", repair, bool, "True or False")
        runtime, namespace = self._runtime, self.namespace
        names = [check_text("a workflow id", name) for name in ids]
        run_ids = [runtime.store(namespace).runs.current(name) for name in names] if names else None
        return audit_runs(runtime, namespace, run_ids, repair=repair)


def _seconds(timeout: float) -> float:
    value: object = timeout
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 3600:
        raise ValueError(f"a timeout is a number of seconds above 0 and up to 3600, not {value!r:.100}")
    return float(value)

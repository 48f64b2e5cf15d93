"""Check of the code that open runs are on: it has to be in the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from orchestration.health.facts import Facts
from orchestration.health.findings import Note, Severity
from orchestration.registry.kinds.lua import WorkflowLua
from orchestration.tasks.runtime import Runtime

__all__ = ["code_here", "missing"]

_MOST_RUNS: Final = 20_000


def missing(facts: Facts) -> Iterator[Note]:
    """Code that is gone is code that no worker can run."""
    lost = facts.store.audits.lost_bundles()
    examples = _examples(facts, set(lost))
    for digest, count in sorted(lost.items()):
        runs = f"{count} open run{'s'[: count != 1]}"
        where = f", such as {examples[digest]}" if digest in examples else ""
        if code_here(facts.runtime, digest):
            cure = "this configuration has it: orchestration audit --repair puts it back"
        else:
            cure = (
                "run orchestration audit --repair with the definitions that the runs were started with (an earlier "
                "checkout), or let the runs go on with other code: orchestration reset ID --to last --new-code"
            )
        yield Note(Severity.ERROR, digest[:12], f"it is not in the store, and {runs} are on it{where}", cure)


def _examples(facts: Facts, digests: set[str]) -> dict[str, str]:
    """A workflow id for each of these bundles, if one is among the first thousands of open runs."""
    found: dict[str, str] = {}
    looked_at = 0
    for page in facts.store.runs.pages("open") if digests else ():
        for record in facts.store.runs.records(page):
            found.setdefault(record.fields.get("bundle", ""), record.fields["id"])
        looked_at += len(page)
        if looked_at >= _MOST_RUNS or digests <= set(found):
            break
    return {digest: found[digest] for digest in digests & set(found)}


def code_here(runtime: Runtime, digest: str) -> bytes:
    """The code with this digest, if the configuration of this process has it; else nothing."""
    for entry in runtime.registry.of(WorkflowLua):
        bundle = runtime.registry.bundle(entry.id)
        if bundle.digest == digest:
            return bundle.encode()
    return b""


"""The audit: every open run has something that will move it. Page by page, whatever the number of runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgpack

from orchestration.errors import CorruptHistoryError
from orchestration.health.bundles import code_here
from orchestration.health.judging import REPAIR, Fault, Mender, Wake, child_entries, judge
from orchestration.health.mending import child_name, mend_run
from orchestration.store.audits import OpenEntry, Snapshot
from orchestration.store.store import Store
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["RunAudit", "audit_runs"]

_PAGE: Final = 100
_MOST_TRIES: Final = 10
_LATE_MS: Final = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAudit:
    """What the audit says of one run that is open, or has ended and has left something undone.

    Attributes:
        workflow_id: Name of the workflow.
        run_id: The run.
        type: Entry id of its code.
        namespace: It is kept in.
        status: running, paused or parked; else it has ended.
        wakes: What will move it again, and answer each of its open commands.
        faults: What is not there that should be, or is late; of what has been mended there is none.
        mended: With ``repair``: what has been done, for people.
    """

    workflow_id: str
    run_id: str
    type: str
    namespace: str
    status: str
    wakes: tuple[Wake, ...]
    faults: tuple[Fault, ...]
    mended: tuple[str, ...] = ()

    @property
    def is_mendable(self) -> bool:
        """Whether a repair would put something back."""
        return any(fault.by is Mender.AUDIT for fault in self.faults)


def audit_runs(
    runtime: Runtime, namespace: str, run_ids: Sequence[RunId] | None = None, *, repair: bool = False,
    unlisted: bool = True,
) -> Iterator[RunAudit]:  # fmt: skip
    """Audit all open runs, or some; few of them are in memory at once.

    Args:
        runtime: Of this process.
        namespace: Whose runs.
        run_ids: Only these; those that have ended are passed over. None: all that are open.
        repair: Put back what is lost.
        unlisted: Go through all runs that are kept, too, for open ones that are on no list.
    """
    store = runtime.store(namespace)
    auditor = _Auditor(runtime, namespace, store)
    pages = store.runs.pages("open", size=_PAGE) if run_ids is None else iter([list(run_ids)])
    if run_ids is None and unlisted:
        pages = itertools.chain(pages, store.audits.unlisted())
    for page in pages:
        for seen in store.audits.inspect(page):
            found: RunAudit | None = auditor.look(seen)
            if repair and found is not None and found.is_mendable:
                found = auditor.mend(seen, found)
            if found is not None:
                yield found
    if run_ids is None:
        yield from auditor.entries_of_ended(repair=repair)


class _Auditor:
    def __init__(self, runtime: Runtime, namespace: str, store: Store) -> None:
        self._runtime = runtime
        self._namespace = namespace
        self._store = store
        self._late_ms = max(_LATE_MS, 10 * runtime.settings.sweep_interval_ms)
        self._stored: set[tuple[str, str]] = set()

    def look(self, seen: Snapshot) -> RunAudit:
        told, seen = self._told(seen)
        wakes, faults = judge(seen, late_ms=self._late_ms, told=told)
        faults += self._bundle_fault(seen)
        fields = seen.fields
        return RunAudit(
            workflow_id=fields["id"], run_id=seen.run_id, type=fields.get("type", ""), namespace=self._namespace,
            status=fields["status"], wakes=tuple(wakes), faults=tuple(faults),
        )  # fmt: skip

    def _told(self, seen: Snapshot) -> tuple[set[int], Snapshot]:
        """Which children will tell their end, and the run as it is after they were looked at.

        A child is in another shard: between the look at its parent and the look at it, it may have ended and told. Then
        the parent, looked at once more, has the answer.
        """
        entries = child_entries(seen)
        if not entries:
            return set(), seen
        told = self._ask(seen, {entry.seq: self._name(seen, entry) for entry in entries})
        doubted = [entry for entry in entries if entry.seq not in told]
        nameless = [entry for entry in doubted if not entry.content]
        if nameless:  # its id may be its own: the history has it
            told |= self._ask(seen, {entry.seq: child_name(self._store, seen, entry.seq) for entry in nameless})
        if all(entry.seq in told for entry in doubted):
            return told, seen
        again = self._store.audits.inspect([seen.run_id])
        if not again:
            return {entry.seq for entry in entries}, replace(seen, commands=())  # it has ended meanwhile
        still = {entry.seq for entry in child_entries(again[0])}
        return (told & still) | (still - {entry.seq for entry in entries}), again[0]

    def _ask(self, seen: Snapshot, names: dict[int, str]) -> set[int]:
        wanted = [(name, seen.run_id, seq) for seq, name in names.items() if name]
        answers = self._store.audits.children(wanted)
        return {seq for (_, _, seq), is_told in zip(wanted, answers, strict=True) if is_told}

    @staticmethod
    def _name(seen: Snapshot, entry: OpenEntry) -> str:
        if not entry.content:
            return f"{seen.run_id}_{entry.seq}"
        return str(msgpack.unpackb(entry.content, raw=False)[5])

    def _bundle_fault(self, seen: Snapshot) -> list[Fault]:
        digest = seen.fields.get("bundle", "")
        known = (seen.run_id[:2], digest)
        if not digest or known in self._stored:
            return []
        if not self._store.audits.missing_bundles(seen.run_id, [digest]):
            self._stored.add(known)
            return []
        text = f"its code ({digest[:12]}) is not in the store"
        if code_here(self._runtime, digest):
            return [Fault(kind="bundle", seq=0, message=text, by=Mender.AUDIT, cure=REPAIR)]
        cure = (
            "repair with the definitions that it was started with (an earlier checkout), or orchestration reset ID "
            "--to last --new-code"
        )
        return [Fault(kind="bundle", seq=0, message=text, by=Mender.OPERATOR, cure=cure)]

    def entries_of_ended(self, *, repair: bool) -> Iterator[RunAudit]:
        """Outbox entries of ended runs that nobody will take up: who waits for the end is not told."""
        for entry in self._store.audits.unmarked():
            run_id = RunId(entry.split("/")[1])
            records = self._store.runs.records([run_id])
            fields = records[0].fields if records else {}
            if fields.get("status") in ("running", "paused", "parked"):
                continue  # it is among the faults of the run
            if repair:
                self._store.audits.mark(entry)
            text = f"its outbox entry {entry} is there, and no worker will take it up"
            fault = Fault(kind="outbox", seq=0, message=text, by=Mender.AUDIT, cure=REPAIR)
            yield RunAudit(
                workflow_id=fields.get("id", ""), run_id=run_id, type=fields.get("type", ""),
                namespace=self._namespace, status=fields.get("status", "unknown"), wakes=(),
                faults=() if repair else (fault,),
                mended=(f"the outbox entry {entry} will be taken up",) if repair else (),
            )  # fmt: skip

    def mend(self, seen: Snapshot, found: RunAudit) -> RunAudit | None:
        """Put back what is lost; None when the run has ended by itself meanwhile."""
        for _ in range(_MOST_TRIES):
            try:
                mending = mend_run(self._runtime, self._namespace, seen, found.faults)
            except CorruptHistoryError as error:
                return replace(found, faults=tuple(_unmendable(fault, str(error)) for fault in found.faults))
            if mending.status == "closed":
                return None
            if mending.status == "nothing":
                why = "what it takes is not known any more"
                return replace(found, faults=tuple(_unmendable(fault, why) for fault in found.faults))
            again = self._store.audits.inspect([seen.run_id])
            if mending.status == "mended":  # it may have gone on to its end since
                now = self.look(again[0]) if again else replace(found, wakes=(), faults=())
                return replace(now, mended=mending.done)
            if not again:
                return None
            seen = again[0]
            found = self.look(seen)
            if not found.is_mendable:
                return found  # it has been mended by somebody else, or was never broken
        return found


def _unmendable(fault: Fault, why: str) -> Fault:
    if fault.by is not Mender.AUDIT:
        return fault
    cure = "orchestration reset ID --to last goes on from its history; else terminate it"
    return replace(fault, message=f"{fault.message}; it cannot be put back: {why}", by=Mender.OPERATOR, cure=cure)

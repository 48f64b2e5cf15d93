"""Moves runs to other code: only after that code has been replayed against the run's whole history."""

from __future__ import annotations

import enum
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from orchestration.core.bundle import Bundle
from orchestration.core.machine import HostServices, Machine
from orchestration.core.replay import Difference, compare
from orchestration.errors import CorruptHistoryError, NondeterminismError, SandboxError
from orchestration.registry.kinds.lua import VersioningBehavior, WorkflowLua
from orchestration.store.results import RunRecord
from orchestration.store.store import Store
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["Fit", "Move", "Moving", "check_run", "move_run"]

logger = logging.getLogger(__name__)

_MOST_REMEMBERED = 10_000
_MOST_TRIES = 10


class Fit(enum.Enum):
    """How a run and the code that is here go together."""

    SAME = "same"
    """The run is on this code."""
    FITS = "fits"
    """The code gives the recorded commands; arguments may differ."""
    BREAKS = "breaks"
    """The code does something else than the history says, or cannot be run."""
    GONE = "gone"
    """There is no such entry here, or the run has ended meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What became of one run.

    Attributes:
        workflow_id: Name of the workflow.
        run_id: The run.
        type: Entry id of its code.
        fit: How it goes together with the code that is here.
        moved: It is on that code now.
        warnings: With ``FITS``: commands with other arguments than recorded, the first ones.
        event_number: With ``BREAKS``: the first event that differs; 0 when it is not one event.
        expected: What the history says there.
        actual: What the code asked for.
        line: Where, as ``file:line``; empty when that is not known.
        reason: Why not, for people.
    """

    workflow_id: str
    run_id: str
    type: str
    fit: Fit
    moved: bool = False
    warnings: tuple[Difference, ...] = ()
    event_number: int = 0
    expected: str = ""
    actual: str = ""
    line: str = ""
    reason: str = ""


def check_run(runtime: Runtime, store: Store, record: RunRecord) -> Move:
    """Replay a run's history against the code that is here; nothing is written.

    Args:
        runtime: Of this process; its registry has the code.
        store: Where the run is kept.
        record: The run.
    """
    entry_id = record.fields["type"]
    about = partial(Move, workflow_id=record.fields["id"], run_id=record.run_id, type=entry_id)
    entry = runtime.registry.find(entry_id)
    if not isinstance(entry, WorkflowLua):
        return about(fit=Fit.GONE, reason=f"there is no workflow {entry_id} here")
    bundle = runtime.registry.bundle(entry.id)
    if record.fields["bundle"] in (bundle.digest, ""):  # without one it gets that of the worker that takes it up first
        return about(fit=Fit.SAME)
    history = list(store.runs.history(record.run_id, stop=record.number("length")))
    machine: Machine | None = None
    try:
        machine = Machine(bundle, limits=runtime.settings.limits)
        with runtime.in_lua():
            position = compare(machine, history)
        return about(fit=Fit.FITS, warnings=position.differences)
    except NondeterminismError as error:
        return about(
            fit=Fit.BREAKS, event_number=error.event_number, expected=error.expected, actual=error.actual,
            line=error.line, reason=str(error),
        )  # fmt: skip
    except (SandboxError, CorruptHistoryError) as error:
        return about(fit=Fit.BREAKS, reason=str(error).split("\n", 1)[0])
    finally:
        if machine is not None:
            machine.close()


def move_run(runtime: Runtime, store: Store, run_id: RunId) -> Move:
    """Move a run to the code that is here, if it fits.

    Args:
        runtime: Of this process; its registry has the code.
        store: Where the run is kept.
        run_id: The run.

    Raises:
        WorkflowNotFoundError: No such run.
    """
    for _ in range(_MOST_TRIES):
        record = store.runs.record(run_id)
        if record.status not in ("running", "paused", "parked"):
            break
        move = check_run(runtime, store, record)
        if move.fit is not Fit.FITS:
            return move
        bundle, old = runtime.registry.bundle(record.fields["type"]), record.fields["bundle"]
        fence = store.repairs.change_bundle(
            run_id, fence=record.number("fence"), old=old, new=bundle.digest, code=bundle.encode()
        )
        if fence is not None:
            return Move(
                workflow_id=move.workflow_id, run_id=run_id, type=move.type, fit=Fit.FITS, moved=True,
                warnings=move.warnings,
            )  # fmt: skip
    fields = record.fields
    reason = f"it is {record.status}" if record.number("closed") else "it moves on faster than it can be checked"
    return Move(workflow_id=fields["id"], run_id=run_id, type=fields["type"], fit=Fit.GONE, reason=reason)


class Moving:
    """Moves runs of entries with ``versioning: auto_upgrade`` when this process takes them up.

    Only forward: a run never comes back to code that it has been on. So old and new workers of a rolling deploy do not
    move it to and fro.

    Args:
        runtime: Of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._refused: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wanted(self, record: RunRecord) -> Bundle | None:
        """The code that a run should be moved to; None when it stays where it is."""
        registry = self._runtime.registry
        entry = registry.find(record.fields["type"])
        if not isinstance(entry, WorkflowLua) or not record.fields["bundle"]:
            return None
        if registry.versioning_of(entry.id) is not VersioningBehavior.AUTO_UPGRADE:
            return None
        bundle = registry.bundle(entry.id)
        been = {record.fields["bundle"], *(digest for _, digest in record.moves)}
        return None if bundle.digest in been or (record.run_id, bundle.digest) in self._refused else bundle

    def move(
        self, store: Store, record: RunRecord, bundle: Bundle, history: Sequence[bytes], *, fence: int,
        host: HostServices,
    ) -> tuple[Machine, int] | None:  # fmt: skip
        """Bring a machine of other code to the end of a run's history, and the run to that code.

        Args:
            store: Where the run is kept.
            record: The run.
            bundle: The other code.
            history: All events of the run.
            fence: As the holder was told it.
            host: Services for the machine.

        Returns:
            The machine and the new fence; None when the code does not fit: then the run stays where it is, and this
            process does not try again.
        """
        facts = {"run_id": record.run_id, "workflow_id": record.fields["id"], "bundle": bundle.digest}
        machine: Machine | None = None
        try:
            machine = Machine(bundle, limits=self._runtime.settings.limits, host=host)
            with self._runtime.in_lua():
                position = compare(machine, history)
        except (NondeterminismError, SandboxError) as error:
            if machine is not None:
                machine.close()
            logger.warning("run stays on its code, the new one does not fit: %s", error, extra=facts)
            self._refuse(record.run_id, bundle.digest)
            return None
        new_fence = store.repairs.change_bundle(
            record.run_id, fence=fence, old=record.fields["bundle"], new=bundle.digest, code=bundle.encode()
        )
        if new_fence is None:  # somebody else has changed the run since: the step will be refused too
            machine.close()
            return None
        told = f", {len(position.differences)} arguments differ" if position.differences else ""
        logger.info("run moved to new code%s", told, extra=facts)
        return machine, new_fence

    def _refuse(self, run_id: str, digest: str) -> None:
        self._refused[(run_id, digest)] = None
        if len(self._refused) > _MOST_REMEMBERED:
            self._refused.popitem(last=False)

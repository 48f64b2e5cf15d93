"""Updates as a holder takes them in: let in or refused before they become part of the history, and their answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgpack

from orchestration.core import handlers
from orchestration.core.machine import Machine
from orchestration.core.replay import replay
from orchestration.store.updates import ACCEPTED, UpdateStatus, encode_answer
from orchestration.tasks.cache import Session
from orchestration.tasks.effects import Effects
from orchestration.tasks.presence import Presence
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["admit_update"]

logger = logging.getLogger(__name__)


def admit_update(
    runtime: Runtime, presence: Presence, session: Session, item: bytes, *, effects: Effects, written: Sequence[bytes]
) -> bool:
    """Let an update in, or refuse it; its sender is told by the commit of this step.

    A validator is asked on a machine of its own, replayed up to here: it costs a replay of the run, an update without
    one costs nothing.

    Args:
        runtime: Of this process.
        presence: Is told when it is Redis that is waited for, not Lua.
        session: The run.
        item: The update, as the inbox has it.
        effects: Of the step.
        written: Events of the step so far.

    Returns:
        False when it was refused: nothing of it goes into the history.
    """
    update_id, name, args = read_update(item)
    admission = handlers.admit(session.machine, name)
    failure: bytes | None = admission.failure if admission.status == "unknown" else None
    if admission.status == "validated":
        failure = _validate(runtime, presence, session, name, args, written)
    if failure is None:
        effects.answer(update_id, ACCEPTED)
        return True
    logger.info("update refused: %s", name, extra={"run_id": session.run_id, "update_id": update_id})
    effects.answer(update_id, encode_answer(UpdateStatus.REJECTED, failure), refused="update")
    return False


def _validate(
    runtime: Runtime, presence: Presence, session: Session, name: str, args: bytes, written: Sequence[bytes]
) -> bytes | None:
    history: list[bytes] = []
    lenient_until = 0
    if session.length:
        runs, run_id = runtime.store(session.namespace).runs, RunId(session.run_id)
        with presence.outside_lua():
            history += runs.history(run_id, stop=session.length)
            lenient_until = runs.record(run_id).lenient_until
    machine = Machine(session.machine.bundle, limits=session.machine.limits, host=session.machine.host)
    try:
        replay(machine, [*history, *written], lenient_until=lenient_until)
        return handlers.validate(machine, name, args)
    finally:
        machine.close()


def read_update(item: bytes) -> tuple[str, str, bytes]:
    """Id, name and arguments of an update as the inbox has it."""
    # It is announced one element longer than it is, for its time.
    _code, update_id, name, args, _sender = msgpack.unpackb(bytes([item[0] - 1]) + item[1:], raw=False)
    return update_id, name, args

"""Updates: sent to a run once for their id, and waited for."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.client.arguments import check_id, check_name
from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.failures import application_error
from orchestration.errors import (
    InboxFullError,
    StoreError,
    UpdateFailedError,
    UpdateRejectedError,
    WorkflowClosedError,
    WorkflowNotFoundError,
)
from orchestration.store.inputs import encode_input
from orchestration.store.updates import Updates, UpdateState, UpdateStatus
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["Update", "await_update", "make_update", "send_update"]

_LOOK_AGAIN_S = 5.0
_OPEN = ("running", "parked", "paused")


@dataclass(frozen=True, slots=True)
class Update:
    """A request to a run.

    Attributes:
        id: The same id in the same run is carried out once.
        name: Of the handler.
        args: Encoded array of its arguments.
    """

    id: str
    name: str
    args: bytes


def make_update(runtime: Runtime, name: str, args: Sequence[Any], update_id: str | None) -> Update:
    """Make an update; a new id when none is given.

    Raises:
        TypeError: The name or the id is no text.
        ValueError: The name or the id is empty, the name begins with ``@`` or is longer than 1,024 bytes, or the id is
            longer than 255.
        EncodeError: An argument cannot be carried.
        PayloadTooLargeError: The arguments are above the limit.
    """
    if check_name("the name of an update", name).startswith("@"):
        raise ValueError(f"the name of an update does not begin with '@': {name!r}")
    update_id = check_id("an update id", update_id) or uuid.uuid4().hex
    return Update(update_id, name, payload.encode(list(args), limit=runtime.settings.value_limit_bytes))


def send_update(runtime: Runtime, namespace: str, run_id: RunId, wanted: Update, *, workflow_id: str) -> RunId:
    """Put an update into a run's inbox, once for its id; stored when this returns.

    Returns:
        The run that has it: the same, or the one that has taken its place meanwhile.

    Raises:
        WorkflowClosedError: The run has ended, and had not been sent this update.
        WorkflowNotFoundError: No such run.
        InboxFullError: Its inbox is full.
        StoreError: It was sent too many updates.
    """
    store = runtime.store(namespace)
    item = encode_input(Code.UPDATE, wanted.id, wanted.name, wanted.args, "")
    while True:
        queue = store.runs.record(run_id).fields.get("queue", "")
        wake_up = runtime.messages.resume(namespace, run_id, queue=queue)
        delivery = store.updates.send(run_id, wanted.id, item, pushes=runtime.messages.pushes(wake_up))
        following = store.runs.record(run_id).fields.get("next") if delivery.status == "closed" else None
        if following is None:
            break
        run_id = RunId(following)
    if delivery.status == "closed":
        raise WorkflowClosedError(
            f"workflow {workflow_id!r} takes no more updates ({wanted.name!r}): it is {delivery.detail}"
        )
    if delivery.status == "full":
        unread = delivery.detail.removesuffix(" inputs are unread")
        if unread.isdigit():
            raise InboxFullError(workflow_id, int(unread))
        raise StoreError(f"workflow {workflow_id!r} takes no more updates at the moment: {delivery.detail}")
    if delivery.status == "wake":
        runtime.messages.publish(wake_up)
    return run_id


def await_update(
    runtime: Runtime, namespace: str, run_id: RunId, wanted: Update, *, workflow_id: str, timeout_s: float | None
) -> Any:
    """Wait for the answer to an update that was sent.

    Raises:
        UpdateRejectedError: It was not let in.
        UpdateFailedError: Its handler failed, or the run ended before it was done.
        WorkflowClosedError: The run ended before it took the update.
        WorkflowNotFoundError: The run is known no more.
        TimeoutError: No answer within the time.
    """
    updates = runtime.store(namespace).updates
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    state = _await(updates, run_id, wanted.id, deadline)
    while state is not None and state.status is UpdateStatus.UNREAD and state.next_run:
        run_id = RunId(state.next_run)
        state = _await(updates, run_id, wanted.id, deadline)
    if state is None:
        raise TimeoutError(
            f"workflow {workflow_id!r} has not answered update {wanted.name!r} within {timeout_s:g} s; "
            f"it goes on: ask again with the update id {wanted.id!r}"
        )
    if state.status is UpdateStatus.DONE:
        return payload.decode(state.value)
    if state.status is UpdateStatus.FAILED:
        raise application_error(payload.decode_failure(state.value), UpdateFailedError)
    if state.status is UpdateStatus.REJECTED:
        raise application_error(payload.decode_failure(state.value), UpdateRejectedError)
    if not state.run_status:
        raise WorkflowNotFoundError(f"no run {run_id!r} is known, now or within the retention period")
    if state.status is UpdateStatus.ACCEPTED:
        message = f"workflow ended before update {wanted.name!r} was done: it is {state.run_status}"
        raise UpdateFailedError(message, "Canceled", False)
    raise WorkflowClosedError(
        f"workflow {workflow_id!r} ended before it took update {wanted.name!r}: it is {state.run_status}"
    )


def _await(updates: Updates, run_id: RunId, update_id: str, deadline: float | None) -> UpdateState | None:
    """Wait until an update has its answer or its run has ended; None when the time is over first."""
    state = updates.read(run_id, update_id)
    if _is_over(state):
        return state
    subscription = updates.subscribe(run_id)
    try:
        while not _is_over(state := updates.read(run_id, update_id)):
            left = _LOOK_AGAIN_S if deadline is None else min(deadline - time.monotonic(), _LOOK_AGAIN_S)
            if left <= 0:
                return None
            subscription.wait(left)
    finally:
        subscription.close()
    return state


def _is_over(state: UpdateState) -> bool:
    """Whether waiting longer is of no use; an answer is written together with the end of its run, or before it."""
    return state.is_answered or state.run_status not in _OPEN

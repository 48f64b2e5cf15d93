"""Whose an address is: what policies are asked about, whatever text code has given."""

from __future__ import annotations

from orchestration.core.pid import make_pid, parse_pid
from orchestration.errors import WorkflowNotFoundError
from orchestration.host.wire import address_of
from orchestration.tasks.runtime import Runtime

__all__ = ["true_address"]


def true_address(runtime: Runtime, dest: str) -> str:
    """The address of who is reached by an address or a registered name; the text itself when that is nobody.

    A message finds a process by its node and number, and a workflow by its id; what else stands in the address is not
    looked at. Policies must not be led astray by it. May wait for the store.

    Args:
        runtime: Of this process.
        dest: As code has given it.

    Returns:
        ``{node@host|number}``, or ``{client@worker|workflow id}`` with the worker that the workflow's entry names.
    """
    actors = runtime.store(runtime.settings.namespace).actors
    pid = dest if parse_pid(dest) is not None else actors.lookup(dest)
    parsed = None if pid is None else parse_pid(pid)
    if pid is None or parsed is None:
        return dest
    address = address_of(pid)
    if address is not None:
        info = actors.info_of(address.node, address.unique)
        return pid if info is None else f"{{{address.node}@{info['place']}|{address.unique}}}"
    return _of_workflow(runtime, parsed.unique) or pid


def _of_workflow(runtime: Runtime, workflow_id: str) -> str | None:
    registry = runtime.registry
    for namespace in runtime.namespaces:
        runs = runtime.store(namespace).runs
        try:
            entry_id = runs.record(runs.current(workflow_id)).fields["type"]
        except WorkflowNotFoundError:
            continue
        worker = (registry.worker_of(entry_id) if entry_id in registry else None) or ""
        client = registry.client_of(worker) if worker in registry else None
        return make_pid(client.id if client else "celery", worker or "default", workflow_id)
    return None

"""Whether code may do what it asks for: the one place where policies are applied.

Code with an actor and a scope may do what the policies of its scope allow: what they deny or say nothing of is refused.
Code that lacks one of the two may do everything, or nothing where ``orchestration_strict_security`` is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.identity import Identity
from orchestration.core.lua.host import HostError
from orchestration.core.policies import Access, Decision
from orchestration.modules.addresses import open_workflow, true_address
from orchestration.modules.caller import Caller
from orchestration.registry.fields import thaw
from orchestration.registry.kinds.lifecycle import ServiceSecurity
from orchestration.registry.kinds.processes import ProcessHost
from orchestration.registry.policies import Policies
from orchestration.store.inputs import encode_input
from orchestration.tasks.runtime import Runtime

__all__ = [
    "find_target",
    "has_target",
    "is_guarded",
    "permitted",
    "refused_command",
    "require",
    "service_identity",
    "started_fields",
]


class _Need(NamedTuple):
    action: str
    resource: str
    text: str


def is_guarded(runtime: Runtime, identity: Identity) -> bool:
    """Whether anything can be refused to code with this identity; if not, nobody needs to ask."""
    return identity.is_complete or runtime.settings.strict_security


def started_fields(runtime: Runtime, identity: Identity) -> dict[str, Any]:
    """What the start of a function or process says of its identity; ``guard.lua`` reads it."""
    strict = {"strict": True} if runtime.settings.strict_security else {}
    return {**identity.fields(), **strict}


def permitted(
    runtime: Runtime, identity: Identity, action: str, resource: str, pid: str = "",
    meta: Mapping[str, Any] | None = None,
) -> bool:  # fmt: skip
    """Whether code may do something.

    Args:
        runtime: Of this process; its registry has the policies.
        identity: In whose name the code runs.
        action: Such as ``process.send``.
        resource: What it is done to: an entry id, an address, a key.
        pid: Address of the code; policies read it as ``meta.pid``.
        meta: More facts for policies.
    """
    if identity.actor is None or identity.scope is None:
        return not runtime.settings.strict_security
    facts = {**(meta or {}), "pid": pid} if pid else dict(meta or {})
    access = Access(action=action, resource=resource, actor=identity.actor, meta=facts)
    return runtime.registry.policies.evaluate(identity.scope, access) is Decision.ALLOW


def require(
    caller: Caller, action: str, resource: str, meta: Mapping[str, Any] | None = None, *, text: str = ""
) -> None:
    """Go on only if the caller may do something.

    Args:
        caller: Who asks.
        action: Such as ``store.get``.
        resource: What it is done to.
        meta: More facts for policies.
        text: What the error says; empty: ``not allowed to <action>: <resource>``.

    Raises:
        HostError: ``PermissionDenied``: it may not.
    """
    if not permitted(caller.runtime, caller.identity, action, resource, caller.pid, meta):
        raise HostError("PermissionDenied", text or _text(action, resource))


def find_target(runtime: Runtime, identity: Identity, code: int, fields: list[Any]) -> None:
    """Put the true address into a command that names an address or a registered name, if policies are asked about it.

    What is permitted is then what is done, whatever the text leads to a moment later. Of a start that would send to, or
    end, the open workflow which has its id already, that is the address of this workflow; one that is started in the
    moment between question and start is not seen. May wait for the store.

    Args:
        runtime: Of this process.
        identity: In whose name the code runs that gave the command.
        code: Of the command.
        fields: What follows it; changed in place.
    """
    if not has_target(runtime, identity, code, fields):
        return
    if code == Code.PERFORM:
        name, pid = payload.decode(fields[2])
        fields[2] = payload.encode([name, true_address(runtime, pid)])
    elif code == Code.START_CHILD:
        options = fields[4]
        found = open_workflow(runtime, str(options.get("id") or options.get("name")))
        if found is not None:
            fields[4] = {**options, "meets": found}
    else:
        fields[1] = true_address(runtime, fields[1])


def has_target(runtime: Runtime, identity: Identity, code: int, fields: Sequence[Any]) -> bool:
    """Whether :func:`find_target` has something to find, and may wait."""
    if not identity.is_complete:
        return False
    if code == Code.START_CHILD:
        host, options = runtime.registry.find(fields[2]), fields[4]
        is_named = bool(options.get("id") or options.get("name"))
        return is_named and not isinstance(host, ProcessHost) and any(_done_to_others(options))
    return code in _ADDRESSED or (code == Code.PERFORM and fields[1] == "process.register")


def refused_command(
    runtime: Runtime, identity: Identity, code: int, fields: Sequence[Any], pid: str = ""
) -> bytes | None:
    """The answer to a command that its code may not give; None when it may.

    Whoever performs commands (of functions and processes: at once; of workflows: in the step that gives them) asks this
    before. In a workflow the answer is an input like any other: recorded, so a replay does not ask the policies again.

    Args:
        runtime: Of this process.
        identity: In whose name the code runs that gave the command.
        code: Of the command.
        fields: What follows it, after :func:`find_target`.
        pid: Address of the code.

    Returns:
        An input, encoded without its time.
    """
    if not is_guarded(runtime, identity):
        return None
    for action, resource, text in _needs(code, fields, pid):
        if not permitted(runtime, identity, action, resource, pid):
            failure = payload.encode_failure(text, kind="PermissionDenied", retryable=False)
            if code == Code.SCHEDULE_ACTIVITY:
                return encode_input(Code.ACTIVITY_FAILED, fields[0], failure)
            if code == Code.START_CHILD:
                return encode_input(Code.CHILD_START_FAILED, fields[0], failure)
            return encode_input(Code.OPERATION_DONE, fields[0], False, failure)
    return None


def service_identity(policies: Policies, security: ServiceSecurity) -> Identity:
    """In whose name a service runs: its actor, and its groups and policies as its scope; without these, no scope.

    Raises:
        ValueError: There is no such policy or group.
    """
    actor = None
    if security.actor is not None:
        actor = {"id": security.actor.id, "meta": thaw(security.actor.meta)}
    if not security.groups and not security.policies:
        return Identity(actor)
    ids = [policy_id for group in security.groups for policy_id in policies.group(group)]
    return Identity(actor, tuple(dict.fromkeys([*ids, *security.policies])))


_ADDRESSED: Final = frozenset({Code.SEND_SIGNAL, Code.CANCEL_EXTERNAL, Code.WATCH})

_CUSTOM: Final = {
    "process.context": ("context", "not allowed to spawn processes with custom context"),
    "process.options": ("options", "not allowed to spawn processes with custom options"),
    "process.security": ("security", "not allowed to spawn processes with custom security context"),
}


def _text(action: str, resource: str) -> str:
    return f"not allowed to {action}: {resource}"


def _needs(code: int, fields: Sequence[Any], pid: str) -> Iterator[_Need]:
    """What a command has to be permitted for; ``asks`` in its options is the library's word for how it was given."""
    if code == Code.SCHEDULE_ACTIVITY:
        target, options = fields[1], fields[3]
        for action in options.get("asks") or ():
            yield _Need(action, action.partition(".")[2], _text(action, action.partition(".")[2]))
        yield _Need("funcs.call", target, f"not allowed: {target}")
    elif code == Code.START_CHILD:
        entry_id, host, options = fields[1], fields[2], fields[4]
        for action in options.get("asks") or ("process.spawn",):
            if action in _CUSTOM:
                yield _Need(action, *_CUSTOM[action])
            elif action == "process.host":
                yield _Need(action, host, _text(action, host))
            elif action == "workflow.exec":
                yield _Need(action, entry_id, f"not allowed: {entry_id}")
            elif options.get("built"):
                yield _Need(action, entry_id, f"not allowed to spawn process: {entry_id}")
            else:
                yield _Need(action, entry_id, _text(action, entry_id))
        if options.get("meets"):
            for action in _done_to_others(options):
                yield _Need(action, options["meets"], _text(action, options["meets"]))
    elif code in _ADDRESSED:
        action = _action_on_process(code, fields)
        yield _Need(action, fields[1], _text(action, fields[1]))
    elif code == Code.PERFORM and fields[1] in ("process.register", "process.unregister"):
        name, *owner = payload.decode(fields[2])
        action = fields[1].replace("process.", "process.registry.")
        yield _Need(action, name, _text(action, name))
        if owner and owner[0] != pid:
            yield _Need("process.registry.foreign", owner[0], _text("process.registry.foreign", owner[0]))


def _done_to_others(options: Mapping[str, Any]) -> Iterator[str]:
    """What a start does to the workflow that has its id already."""
    if options.get("messages"):
        yield "process.send"
    policies = (options.get("id_conflict_policy"), options.get("id_reuse_policy"))
    if "terminate_existing" in policies or "terminate_if_running" in policies:
        yield "process.terminate"


def _action_on_process(code: int, fields: Sequence[Any]) -> str:
    if code == Code.SEND_SIGNAL:
        return "process.send"
    if code == Code.CANCEL_EXTERNAL:
        return "process.terminate" if fields[3] else "process.cancel"
    return f"process.{fields[2]}"

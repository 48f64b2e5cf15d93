"""Who asks: the function or process whose code uses a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.identity import Identity
from orchestration.store.inputs import encode_input
from orchestration.tasks.runtime import Runtime

__all__ = ["Caller", "Identity"]


@dataclass(slots=True, eq=False, kw_only=True)
class Caller:
    """One function call or process, as its modules see it.

    Attributes:
        runtime: Of this OS process: settings, registry, stores, the Celery application.
        entry_id: Entry whose code runs.
        pid: Its address.
        node: Name under which its process host is in the store's ``nodes``; scripts with an effect check it
            (``include/fence.lua``). Empty for a function that runs as a Celery task: nothing fences it.
        context: Context values.
        identity: Actor and scope.
        answer: Takes an encoded input for the Lua machine; may be called from any thread, also after the end.
        check: Raises when the process has lost the right to act (its worker was taken for dead); to be called right
            before anything that others can see.
        at_end: Called once, in order, when the code has ended or been upgraded; for what modules hold open. Never
            waits.
        kept: What modules remember about this caller, by their own name.
        is_over: The code has ended; a verb that was on its way meanwhile keeps nothing open.
    """

    runtime: Runtime
    entry_id: str
    pid: str
    node: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    identity: Identity = field(default_factory=Identity)
    answer: Callable[[bytes], None] = lambda _item: None
    check: Callable[[], None] = lambda: None
    at_end: list[Callable[[], None]] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    is_over: bool = False

    def deliver(self, topic: str, *values: Any) -> None:
        """Put a message into the caller's mailbox; topics of modules begin with ``@``."""
        self.answer(encode_input(Code.SIGNAL, topic, payload.encode(list(values)), ""))

    def close(self, *, is_over: bool = True) -> None:
        """The code has ended.

        Args:
            is_over: For good; False: other code goes on in its place, and knows nothing of what it held open.
        """
        self.is_over = is_over
        ends, self.at_end = self.at_end, []
        for end in ends:
            end()

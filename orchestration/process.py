"""What the code of a ``process.python`` entry uses: the process it is, its mail, and what can happen to it.

::

    from orchestration.process import AsyncProcess

    async def session(process: AsyncProcess, user: str) -> int:
        seen = 0
        async for message in process.messages():
            seen += 1
            await process.send(message.sender, "seen", user, seen)
        return seen
"""

from __future__ import annotations

from orchestration.host.mailbox import CANCEL, EXIT, LINK_DOWN, Event, Message
from orchestration.host.python_process import AsyncProcess, Process

__all__ = ["CANCEL", "EXIT", "LINK_DOWN", "AsyncProcess", "Event", "Message", "Process"]

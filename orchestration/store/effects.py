"""What functions and processes tell others, unless their worker has been taken for dead."""

from __future__ import annotations

from orchestration.store.base import Aggregate, text
from orchestration.store.connection import Subscription
from orchestration.store.results import Pushes

__all__ = ["Effects"]


class Effects(Aggregate):
    """Messages to queues of the broker, and events."""

    def give_out(self, node: str, pushes: Pushes) -> bool:
        """Give broker messages out.

        Args:
            node: Of the process on whose behalf; empty: nothing fences it.
            pushes: The messages.

        Returns:
            False: the node has been taken for dead, nothing was done.

        Raises:
            StoreUnavailableError: No reply; the messages may or may not be there.
            StoreError: A key of the broker holds something that is no queue; nothing was done.
        """
        return text(self._run("give_out", [self._keyspace.actors.nodes], node, self._pack_pushes(pushes))[0]) == "sent"

    def tell_event(self, node: str, event: bytes) -> bool:
        """Tell an event to everybody who listens at this moment; the same arguments and errors as :meth:`give_out`."""
        channel = self._keyspace.actors.events_channel()
        return self.give_out(node, Pushes(self._connection.database, (("PUBLISH", channel, event),)))

    def listen(self) -> Subscription:
        """Hear the events that are told from now on."""
        return self._connection.subscribe(self._keyspace.actors.events_channel())

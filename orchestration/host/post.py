"""The node's line to Redis: orders go out as they were given, many in one round trip; mail comes in."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from orchestration.errors import StoreError
from orchestration.host import wire
from orchestration.store.actors import Actors, Order
from orchestration.store.base import text
from orchestration.telemetry.facade import Telemetry

__all__ = ["Post"]

logger = logging.getLogger(__name__)

_BATCH: Final = 500
_BATCH_BYTES: Final = 4 * 1024 * 1024
_WAIT_S: Final = 5.0
_MOST_SENDERS: Final = 50_000

Done = Callable[[str, list[Any]], None]


class _Letter(NamedTuple):
    """A message that waits to be sent; several to one node go with one script."""

    sender: str
    to: str
    unique: str
    message: bytes


class _Parcel(NamedTuple):
    """An order, and who is told of it: of an order for letters, one for each of them."""

    order: Order
    dones: tuple[Done | None, ...]
    is_mail: bool


class Post:
    """Outgoing orders and incoming mail of one node.

    Args:
        actors: The verbs of the store.
        node: Id of the node.
        take: Takes the content of a message to this node: what, and the rest. Called in one thread.
        telemetry: Counts messages; None: off.
    """

    def __init__(
        self, actors: Actors, node: str, take: Callable[[str, list[Any]], None], telemetry: Telemetry | None = None
    ) -> None:
        self._actors = actors
        self._node = node
        self._take = take
        self._telemetry = telemetry
        self._orders: deque[tuple[Order | _Letter, Done | None]] = deque()
        self._changed = threading.Condition()
        self._is_busy = False
        self._has_writer = self._has_reader = False
        self._number = 0
        self._heard: OrderedDict[str, int] = OrderedDict()
        self._closed = False

    def order(self, order: Order, done: Done | None = None) -> None:
        """Have a script run after all that was ordered before.

        Args:
            order: The script.
            done: Told its status and the rest of its reply, in the writer's thread: ``"lost"`` and the reason when
                Redis does not answer or refuses.
        """
        with self._changed:
            self._put(order, done)

    def tell(self, sender: str, to: str, unique: str, what: str, *rest: Any, done: Done | None = None) -> None:
        """Send a message to a process of another node, or (``unique`` empty) to the node.

        Args:
            sender: Id that fences this: the node's, or empty.
            to: The other node.
            unique: Number of the process there; it has to live.
            what: Kind of message.
            rest: Its content.
            done: As in :meth:`order`.
        """
        with self._changed:
            self._number += 1
            message = wire.pack(self._node, self._number, what, *rest)
            self._put(_Letter(sender, to, unique, message), done)

    def read(self) -> None:
        """Begin to read this node's mail."""
        with self._changed:
            if not self._has_reader and self._actors.is_shared:
                self._has_reader = True
                threading.Thread(target=self._read, name="orchestration-mail", daemon=True).start()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was ordered has been done."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._orders and not self._is_busy, timeout_s)

    def close(self) -> None:
        """Stop; what has been ordered is still done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _put(self, order: Order | _Letter, done: Done | None) -> None:
        self._orders.append((order, done))
        if not self._has_writer:
            self._has_writer = True
            threading.Thread(target=self._write, name="orchestration-post", daemon=True).start()
        elif not self._is_busy:
            self._changed.notify_all()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                if not self._orders:
                    self._changed.notify_all()  # whoever waits in flush()
                while not self._orders:
                    if self._closed:
                        self._has_writer = False
                        return
                    self._changed.wait()
                batch: list[tuple[Order | _Letter, Done | None]] = []
                size = 0
                while self._orders and len(batch) < _BATCH and size < _BATCH_BYTES:
                    batch.append(self._orders.popleft())
                    size += _size_of(batch[-1][0])
                self._is_busy = True
            parcels = self._parcels(batch)
            try:
                replies: list[list[Any] | Exception] = self._actors.run([parcel.order for parcel in parcels])
            except Exception as error:  # noqa: BLE001 - whatever it is: without this thread the node is mute
                replies = [error] * len(parcels)
            for parcel, reply in zip(parcels, replies, strict=True):
                if self._telemetry is not None and parcel.is_mail:
                    self._telemetry.count("orchestration_process_messages_total", "sent", amount=len(parcel.dones))
                _tell(parcel, reply)

    def _parcels(self, batch: list[tuple[Order | _Letter, Done | None]]) -> list[_Parcel]:
        """Put letters to one node, that were given one after the other, into one order."""
        parcels: list[_Parcel] = []
        letters: list[_Letter] = []
        dones: list[Done | None] = []

        def close() -> None:
            if letters:
                first = letters[0]
                messages = [(letter.unique, letter.message) for letter in letters]
                parcels.append(_Parcel(self._actors.post(first.sender, first.to, messages), tuple(dones), True))
                letters.clear()
                dones.clear()

        for what, done in batch:
            if not isinstance(what, _Letter):
                close()
                parcels.append(_Parcel(what, (done,), False))
                continue
            if letters and letters[0][:2] != what[:2]:
                close()
            letters.append(what)
            dones.append(done)
        close()
        return parcels

    def _read(self) -> None:
        messages: list[bytes] = []
        while not self._closed:
            try:
                messages = self._actors.take_mail(self._node, messages)
                if not messages:
                    self._actors.wait_for_mail(self._node, timeout_s=_WAIT_S)
                    continue
            except StoreError as error:
                logger.warning("mail cannot be read: %s", error)
                time.sleep(1.0)
                continue
            except Exception:  # whatever it is: without this thread the node is deaf
                logger.exception("mail cannot be read")
                time.sleep(1.0)
                continue
            for message in messages:
                self._hand_over(message)

    def _hand_over(self, message: bytes) -> None:
        try:
            sender, number, what, *rest = wire.unpack(message)
            if number <= self._heard.get(sender, 0):
                return  # a copy: the reply to the first was lost
            self._heard[sender] = number
            self._heard.move_to_end(sender)
            if len(self._heard) > _MOST_SENDERS:
                self._heard.popitem(last=False)
            if self._telemetry is not None:
                self._telemetry.count("orchestration_process_messages_total", "received")
            self._take(what, rest)
        except Exception:
            logger.exception("a message to this node could not be read")

    def forget(self, sender: str) -> None:
        """A node has gone: it sends nothing any more."""
        self._heard.pop(sender, None)


def _size_of(what: Order | _Letter) -> int:
    if isinstance(what, _Letter):
        return len(what.message)
    return sum(len(arg) for arg in what.args if isinstance(arg, bytes))


def _tell(parcel: _Parcel, reply: list[Any] | Exception) -> None:
    """Tell those who ordered what became of it."""
    if isinstance(reply, Exception):
        logger.error("Redis did not do %s: %s", parcel.order.script.name, reply)
        answers: list[tuple[str, list[Any]]] = [("lost", [str(reply)])] * len(parcel.dones)
    elif parcel.is_mail and text(reply[0]) == "ok":
        answers = [(text(status), []) for status in reply[1:]]
    else:
        answers = [(text(reply[0]), reply[1:])] * len(parcel.dones)
    for done, (status, rest) in zip(parcel.dones, answers, strict=True):
        if done is None:
            continue
        try:
            done(status, rest)
        except Exception:
            logger.exception("the answer of %s could not be taken", parcel.order.script.name)

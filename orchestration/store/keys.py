"""Every Redis key name, built here and nowhere else.

All keys of a run carry its shard as the hash tag, so one script touches one cluster slot. A run id begins with its
shard, so that whoever has only the run id finds the keys; a workflow id is hashed to its shard.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from orchestration.types import RunId, WorkflowId

__all__ = ["ActorKeys", "Keyspace", "ShardKeys", "check_workflow_id"]

MAX_WORKFLOW_ID_BYTES = 255
_HEX = frozenset("0123456789abcdef")


def check_workflow_id(workflow_id: str) -> WorkflowId:
    """Refuse what cannot be a workflow id.

    Returns:
        The same text, as an id.

    Raises:
        TypeError: It is no text.
        ValueError: Empty, longer than 255 bytes in UTF-8, or with a control character.
    """
    if not isinstance(workflow_id, str):
        raise TypeError(f"a workflow id is text, not {workflow_id!r:.100} ({type(workflow_id).__name__})")
    size = len(workflow_id.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= MAX_WORKFLOW_ID_BYTES:
        raise ValueError(f"a workflow id has 1 to {MAX_WORKFLOW_ID_BYTES} bytes, not {size}")
    for character in workflow_id:
        if ord(character) < 32 or 127 <= ord(character) < 160 or 0xD800 <= ord(character) < 0xE000:
            raise ValueError(f"a workflow id has no control characters: {workflow_id!r} has {character!r}")
    return WorkflowId(workflow_id)


def _escape(text: str) -> str:
    """Keep a foreign text from forming a hash tag or a key of another kind."""
    return text.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")


@dataclass(frozen=True, slots=True)
class ShardKeys:
    """Key names of one shard.

    Attributes:
        tag: Common beginning of all its keys, hash tag included.
    """

    tag: str

    def workflow(self, workflow_id: str) -> str:
        """Hash: the current run of a workflow id, and the request that started it."""
        return f"{self.tag}:wf:{_escape(workflow_id)}"

    def request(self, request_id: str) -> str:
        """String: the run that a start or signal request has been answered with; expires."""
        return f"{self.tag}:req:{_escape(request_id)}"

    def record(self, run_id: str) -> str:
        """Hash: where a run stands."""
        return f"{self.tag}:run:{run_id}"

    def extra(self, run_id: str) -> str:
        """Hash: the larger facts of a run: outer request, places, attributes."""
        return f"{self.tag}:extra:{run_id}"

    def history(self, run_id: str) -> str:
        """List: the events of a run, oldest first."""
        return f"{self.tag}:hist:{run_id}"

    def inbox(self, run_id: str) -> str:
        """List: inputs that the run has not consumed yet, oldest first."""
        return f"{self.tag}:inbox:{run_id}"

    def open(self, run_id: str) -> str:
        """Hash: the commands of a run that wait for something."""
        return f"{self.tag}:open:{run_id}"

    def updates(self, run_id: str) -> str:
        """Hash: the updates that a run was sent, and what they were answered."""
        return f"{self.tag}:updates:{run_id}"

    def claims(self, owner: str) -> str:
        """Set: the activity attempts that one process executes."""
        return f"{self.tag}:claims:{owner}"

    def bundle(self, digest: str) -> str:
        """String: one code bundle."""
        return f"{self.tag}:bundle:{digest}"

    def schedule(self, schedule_id: str) -> str:
        """Hash: definition and state of one schedule."""
        return f"{self.tag}:sch:{_escape(schedule_id)}"

    def done_channel(self, run_id: str) -> str:
        """Channel: told when the run closes."""
        return f"{self.tag}:done:{run_id}"

    def told_channel(self, run_id: str) -> str:
        """Channel: told when the run has begun, and when an update has its answer."""
        return f"{self.tag}:told:{run_id}"

    def changes_channel(self, run_id: str) -> str:
        """Channel, of the name of the record: told of every change of the run while somebody follows it."""
        return self.record(run_id)

    @property
    def bundles(self) -> str:
        """Hash: how many open runs use a bundle."""
        return f"{self.tag}:bundles"

    @property
    def shown(self) -> str:
        """Sorted set: open runs whose Celery task is looked after, by when it is the next time."""
        return f"{self.tag}:shown"

    @property
    def timers(self) -> str:
        """Sorted set: every timer and deadline, by due time."""
        return f"{self.tag}:timers"

    @property
    def handed(self) -> str:
        """Sorted set: timers whose wake-up has been given to the broker, by due time."""
        return f"{self.tag}:handed"

    @property
    def ready(self) -> str:
        """Sorted set: runs with something to read, by the time the sweep looks after them."""
        return f"{self.tag}:ready"

    @property
    def pending(self) -> str:
        """Sorted set: activity attempts dispatched and not yet claimed, by dispatch time."""
        return f"{self.tag}:pending"

    @property
    def frontier(self) -> str:
        """Hash: for each queue the latest dispatch time among the claimed attempts."""
        return f"{self.tag}:frontier"

    @property
    def leftovers(self) -> str:
        """Sorted set: Celery results of reported attempts, by the time at which they are deleted."""
        return f"{self.tag}:leftovers"

    @property
    def outbox(self) -> str:
        """Hash: work that a commit left to be done outside its script."""
        return f"{self.tag}:outbox"

    @property
    def outbox_due(self) -> str:
        """Sorted set: outbox entries, by the time the sweep takes them up."""
        return f"{self.tag}:outbox-due"

    @property
    def schedules(self) -> str:
        """Sorted set: ids of all schedules, in the order of their bytes."""
        return f"{self.tag}:schedules"

    @property
    def schedules_due(self) -> str:
        """Sorted set: schedules, by the time of the next look at them."""
        return f"{self.tag}:schedules-due"

    @property
    def open_runs(self) -> str:
        """Sorted set: runs that have not ended, by start time."""
        return f"{self.tag}:open-runs"

    @property
    def closed_runs(self) -> str:
        """Sorted set: runs that have ended and are still kept, by closing time."""
        return f"{self.tag}:closed-runs"

    @property
    def parked_runs(self) -> str:
        """Sorted set: open runs that wait for an operator, by parking time."""
        return f"{self.tag}:parked-runs"

    @property
    def index(self) -> str:
        """Sorted set: what runs are found by, see ``redis_lua/include/index.lua``."""
        return f"{self.tag}:index"

    @property
    def types(self) -> str:
        """Hash: the number that each entry id has in the index."""
        return f"{self.tag}:types"

    @property
    def unarchived(self) -> str:
        """Sorted set: ended runs that are kept until they have been archived, by the time of the next attempt."""
        return f"{self.tag}:unarchived"

    @property
    def ended(self) -> str:
        """Hash: for each ended run that is kept, its members of the index."""
        return f"{self.tag}:ended"


@dataclass(frozen=True, slots=True)
class ActorKeys:
    """Key names of processes, their names, messages and stores: one slot for all of a namespace.

    Attributes:
        tag: Common beginning of all its keys, hash tag included.
    """

    tag: str

    @property
    def nodes(self) -> str:
        """Sorted set: OS processes that run processes or wait for messages, by the time they were last heard of.

        Who is not in it any more has been taken for dead, and nothing that it does may have an effect.
        """
        return f"{self.tag}:nodes"

    def items(self, store_id: str) -> str:
        """Hash: the items of a key-value store."""
        return f"{self.tag}:store:{_escape(store_id)}"

    def item_keys(self, store_id: str) -> str:
        """Sorted set: its keys, in the order of their bytes."""
        return f"{self.tag}:store-keys:{_escape(store_id)}"

    def item_ends(self, store_id: str) -> str:
        """Sorted set: keys that end, by the time at which they do."""
        return f"{self.tag}:store-ends:{_escape(store_id)}"

    @property
    def item_versions(self) -> str:
        """Hash: for each key-value store, the version that was given last."""
        return f"{self.tag}:store-versions"

    def receipt(self, slot: str) -> str:
        """String: the last write of one slot of an OS process, and its answer; expires."""
        return f"{self.tag}:receipt:{slot}"

    @property
    def names(self) -> str:
        """Hash: address of the process that has a name."""
        return f"{self.tag}:names"

    def node(self, node: str) -> str:
        """Hash: what a node says of itself."""
        return f"{self.tag}:node:{node}"

    def living(self, node: str) -> str:
        """Hash: the processes of a node, by their number."""
        return f"{self.tag}:living:{node}"

    def named(self, node: str) -> str:
        """Set: names that processes of a node have taken."""
        return f"{self.tag}:named:{node}"

    def mail(self, node: str) -> str:
        """List: messages for the processes of a node that it has not taken yet, oldest first."""
        return f"{self.tag}:mail:{node}"

    def host(self, host: str) -> str:
        """Set: nodes that serve a process host."""
        return f"{self.tag}:host:{_escape(host)}"

    @property
    def services(self) -> str:
        """Set: instances of supervised services that have been taken up."""
        return f"{self.tag}:services"

    @property
    def service_wishes(self) -> str:
        """Hash: what operators want of services, and how often something has changed that all should look at."""
        return f"{self.tag}:service-wishes"

    def service(self, instance: str) -> str:
        """Hash: who looks after an instance of a service, and where it stands."""
        return f"{self.tag}:service:{_escape(instance)}"

    def events_channel(self) -> str:
        """Channel: the events that functions and processes send."""
        return f"{self.tag}:events"


class Keyspace:
    """Finds the shard and the keys of anything.

    Args:
        prefix: First word of every key.
        namespace: Separates runs of one deployment from another's on the same Redis.
        shards: Number of shards, 1 to 256; fixed for a store at its first use.
    """

    def __init__(self, prefix: str, namespace: str, shards: int) -> None:
        if not 1 <= shards <= 256:
            raise ValueError(f"the number of shards is 1 to 256, not {shards}")
        self.base = f"{_escape(prefix)}:{_escape(namespace)}"
        self.namespace = namespace
        self._offload = f"{_escape(prefix)}:offload:{_escape(namespace)}"
        self.shards = shards
        self.actors = ActorKeys(f"{_escape(prefix)}:{{{_escape(namespace)}.p}}")
        self._all = tuple(ShardKeys(f"{_escape(prefix)}:{{{_escape(namespace)}.{index}}}") for index in range(shards))

    def __iter__(self) -> Iterator[ShardKeys]:
        """Iterate over the keys of every shard."""
        return iter(self._all)

    @property
    def all(self) -> tuple[ShardKeys, ...]:
        """The keys of every shard, in order."""
        return self._all

    def shard_of(self, workflow_id: str) -> int:
        """Number of the shard that a workflow id lives in."""
        return zlib.crc32(workflow_id.encode("utf-8", "surrogatepass")) % self.shards

    def of_workflow(self, workflow_id: str) -> ShardKeys:
        """Keys of the shard that a workflow id lives in."""
        return self._all[self.shard_of(workflow_id)]

    def of_run(self, run_id: str) -> ShardKeys:
        """Keys of the shard that a run lives in.

        Raises:
            ValueError: The text is not a run id of this store.
        """
        shard = run_id[:2]
        # int() alone takes "-1", "+1" and " 1" too.
        if len(shard) == 2 and set(shard) <= _HEX and int(shard, 16) < self.shards:
            return self._all[int(shard, 16)]
        raise ValueError(f"{run_id!r} is not a run id of this store")

    def may_be_run(self, text: str) -> bool:
        """Whether a text can be a run id of this store."""
        return len(text) == 32 and set(text) <= _HEX and int(text[:2], 16) < self.shards

    def new_run_id(self, workflow_id: str) -> RunId:
        """Make an id for a new run: two hexadecimal digits of its shard and 120 random bits."""
        return RunId(f"{self.shard_of(workflow_id):02x}{os.urandom(15).hex()}")

    def deliveries(self, of: str) -> str:
        """Key in the broker, if that is a Redis: messages of queues that consumers have in their hands.

        Args:
            of: Which of its parts: ``held`` (hash), ``since`` (sorted set) or ``turn`` (string).
        """
        return f"{self.base}:deliveries:{of}"

    def offload(self, scope: str) -> str:
        """Hash, in the Redis that large items are offloaded to: those of one workflow id, by digest."""
        return f"{self._offload}:{scope}"

    @property
    def meta(self) -> str:
        """Hash: format version and number of shards of this store."""
        return f"{self.base}:meta"

    @property
    def workers(self) -> str:
        """Sorted set: processes that hold claims or pump timers, by the time they were last heard of."""
        return f"{self.base}:workers"

    @property
    def consumers(self) -> str:
        """Hash: for each worker with the extension, the queues that it takes tasks from, and when it said so."""
        return f"{self.base}:consumers"

    @property
    def turn(self) -> str:
        """String: which worker sweeps at the moment; expires."""
        return f"{self.base}:turn"

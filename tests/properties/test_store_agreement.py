"""The store in memory and the store in Redis agree on random sequences of calls."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import msgpack
import pytest
import redis
from hypothesis import HealthCheck, given, settings

from orchestration.errors import OrchestrationError
from orchestration.store import results
from orchestration.store.attempts import AttemptId, Claim, first_state
from orchestration.store.base import StoreOptions
from orchestration.store.indexing import attribute_op
from orchestration.store.query import Condition
from orchestration.store.results import Delivery, Lease, Pushes, Sweep
from orchestration.store.updates import ACCEPTED, UpdateStatus, encode_answer
from orchestration.types import RunId
from tests.store.backends import Backend, MemoryBackend, RedisBackend
from tests.store.runs import DIGEST

RUNS = [RunId(f"00{number:030x}") for number in range(3)]
WORKFLOWS = ["order-{1}", "order-2"]
OWNERS = ["me", "other"]
DATABASE = 63
OPTIONS = StoreOptions(lease_ms=3_500, grace_ms=2_300)
SOON_MS = 200
"""Real time one example may take: less than the 300 ms between a due time and the nearest time that is moved to."""
DELAYS = [-1_000, 300, 2_700, 20_300]
PASSES = [400, 1_200, 3_200, 700_000_000]
"""What passes is a multiple of 400 ms, what is waited for has 300 ms more: however the calls fall, a due time is never
so near that the milliseconds between a call in memory and the same call in Redis decide."""

Step = Callable[["Player"], Any]


class Player:
    """Plays calls on one store and remembers what a holder remembers.

    Args:
        backend: The store.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.store = backend.store
        self.leases: dict[tuple[RunId, str], Lease] = {}
        self.commits = 0

    def noted(self, run_id: RunId, owner: str, delivery: Delivery) -> Delivery:
        if delivery.lease is not None:
            self.leases[run_id, owner] = delivery.lease
        return delivery

    def pass_time(self, ms: int) -> None:
        self.backend.pass_time(ms)
        if isinstance(self.backend, RedisBackend):  # there, what has been stored gets older; what is held must too
            self.leases = {key: replace(lease, time_ms=lease.time_ms - ms) for key, lease in self.leases.items()}

    def pushes(self, wanted: bool) -> Pushes:
        commands = (("lpush", "broker:q", b"wake"),) if wanted else ()
        return Pushes(self.backend.connection.database, commands)

    def play(self, step: Step) -> Any:
        try:
            return self.plain(step(self))
        except OrchestrationError as error:
            return type(error).__name__

    def plain(self, answer: Any) -> Any:
        """An answer without its times."""
        if isinstance(answer, Delivery) and answer.lease is not None:
            lease = answer.lease
            return ("lease", lease.run_id, lease.fence, lease.length, lease.tries, lease.inputs, lease.tail)
        if isinstance(answer, Delivery):
            return (answer.status, "" if answer.status == "early" else answer.detail.partition(" ")[0])
        if isinstance(answer, Claim):
            return (answer.granted, answer.why, answer.details)
        if isinstance(answer, Sweep):
            return (
                set(answer.runs), {member for member, _ in answer.hand}, set(answer.fire), set(answer.outbox),
                {member for member, _ in answer.unclaimed}, answer.next_due_ms > 0,
            )  # fmt: skip
        return answer


def start(
    run_id: RunId, workflow_id: str, request: str, conflict: str, reuse: str, push: bool, timeout: int, update: str = ""
) -> Step:
    return lambda p: p.store.runs.start(
        run_id, workflow_id, request_id=request, digest=DIGEST, bundle=b"code" if run_id == RUNS[0] else b"",
        fields={"type": "t"}, extra={"x": b"\xff"} if push else {}, inputs=[b"a", b"b"], update=update,
        conflict=conflict, reuse=reuse, run_timeout_ms=timeout, pushes=p.pushes(push),
    )  # fmt: skip


def fresh_start(run_id: RunId, *rest: Any) -> Step:
    """A run id is made once: a start that would use it again is left out."""
    step = start(run_id, *rest)
    return lambda p: None if p.store.runs.records([run_id]) else step(p)


def lease(run_id: RunId, owner: str, known: int) -> Step:
    return lambda p: p.noted(run_id, owner, p.store.runs.take_lease(run_id, owner, known=known))


def deliver(run_id: RunId, request: str, owner: str, push: bool) -> Step:
    return lambda p: p.noted(
        run_id, owner, p.store.runs.deliver(run_id, b"in", request_id=request, owner=owner, pushes=p.pushes(push))
    )


def send_update(run_id: RunId, update: str, push: bool) -> Step:
    return lambda p: p.store.updates.send(run_id, update, b"in", pushes=p.pushes(push))


def commit(
    run_id: RunId, owner: str, ops: list[tuple[str, int, int]], ending: str, again: bool, push: bool, stale: bool
) -> Step:
    def step(p: Player) -> Any:
        records = p.store.runs.records([run_id])
        if (run_id, owner) not in p.leases or not stale:
            p.noted(run_id, owner, p.store.runs.take_lease(run_id, owner))
        held = p.leases.get((run_id, owner))
        if held is None or not records:
            return None
        p.commits += not again
        return p.noted(
            run_id, owner,
            p.store.runs.commit(
                held,
                results.Step(
                    workflow_id=records[0].fields["id"], digest=DIGEST, commit_id=f"commit-{p.commits}", owner=owner,
                    consumed=len(held.inputs), dropped=0, events=[b"event"], ops=written(p, run_id, ops),
                    ending=ending, pushes=p.pushes(push),
                ),
            ),
        )  # fmt: skip

    return step


def finish_attempt(run_id: RunId, owner: str, seq: int, attempt: int, ending: str, again: bool) -> Step:
    def step(p: Player) -> Any:
        records = p.store.runs.records([run_id])
        if not records:
            return None
        p.commits += not again
        record = records[0]
        believed = Lease(run_id, record.number("fence"), record.number("time"), record.number("length"), 1, ())
        return p.noted(
            run_id, owner,
            p.store.runs.finish(
                believed,
                results.Step(
                    workflow_id=record.fields["id"], digest=DIGEST, commit_id=f"commit-{p.commits}", owner=owner,
                    events=[b"in", b"event"], ops=[["shut", str(seq), "answered"]], ending=ending,
                ),
                attempt_of(run_id, seq, attempt),
                claimed_by=owner,
            ),
        )  # fmt: skip

    return step


def written(p: Player, run_id: RunId, ops: list[tuple[str, int, int]]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for name, seq, delay in ops:
        member, due = f"{run_id}/{seq}", p.backend.now_ms() + delay
        if name == "activity":
            found += [["open", str(seq), b"a"], ["open", f"{seq}:s", first_state("token")], ["sent", member]]
            found.append(["timer", f"{member}/start", due])
        elif name == "timer":
            found += [["open", str(seq), b"t"], ["timer", f"{member}/timer", due]]
        elif name == "eta":
            found += [["open", str(seq), b"t"], ["timer", f"{member}/timer", due]]
            found.append(["eta", f"{member}/timer", due, ["lpush", "broker:eta", member.encode()]])
        elif name == "search":
            found.append(attribute_op("n", delay) if seq == 1 else attribute_op("l", ["a", str(delay)]))
        elif name == "answer":
            rejected = encode_answer(UpdateStatus.REJECTED, b"\xc0")
            found.append(["answer", f"u{seq}", *((ACCEPTED, "") if delay > 0 else (rejected, "update"))])
        elif name == "out":
            found.append(["out", f"o/{member}", b"entry"])
        else:
            found.append(["shut", str(seq), "answered" if delay > 0 else "cancelled"])
    return found


def attempt_of(run_id: RunId, seq: int, attempt: int) -> AttemptId:
    return AttemptId(run_id, seq, attempt, "token")


def claim(run_id: RunId, seq: int, attempt: int, owner: str, nonce: str, beat: int) -> Step:
    return lambda p: p.store.attempts.claim(
        attempt_of(run_id, seq, attempt), owner=owner, nonce=nonce, close_ms=20_300, beat_ms=beat, queue="q"
    )


def report(run_id: RunId, seq: int, attempt: int, outcome: str, owner: str, states: str, delay: int) -> Step:
    return lambda p: p.noted(
        run_id, owner,
        p.store.attempts.report(
            attempt_of(run_id, seq, attempt), outcome=outcome, item=b"out", claimed_by=owner, delay_ms=delay,
            states=states, owner=owner, pushes=p.pushes(True),
        ),
    )  # fmt: skip


def dispatch(run_id: RunId, seq: int, attempt: int, state: str, push: bool) -> Step:
    return lambda p: p.store.attempts.dispatch(
        attempt_of(run_id, seq, attempt), state=state, entry=b"e", start_ms=2_700, pushes=p.pushes(push)
    )


def heartbeat(run_id: RunId, seq: int, attempt: int, details: bytes) -> Step:
    return lambda p: p.store.attempts.heartbeat(attempt_of(run_id, seq, attempt), details=details, beat_ms=2_700)


def fire(run_id: RunId, seq: int, owner: str) -> Step:
    return lambda p: p.noted(run_id, owner, p.store.timers.fire(run_id, seq, owner=owner, pushes=p.pushes(True)))


def sweep(limit: int) -> Step:
    return lambda p: p.store.timers.sweep(
        p.store.timers.shards[0], limit=limit, hold_ms=2_700, horizon_ms=10_000, eta_max=3, overdue_ms=400,
        unclaimed_ms=2_300,
    )  # fmt: skip


def end(run_id: RunId, timer: bool) -> Step:
    return lambda p: p.store.runs.end(
        run_id, status="timed_out", code=76, details=["why"], timer=f"{run_id}/run" if timer else "",
        outbox_id=f"c/{run_id}", entry=b"e",
    )  # fmt: skip


def park(run_id: RunId, behind: int) -> Step:
    def step(p: Player) -> Any:
        records = p.store.runs.records([run_id])
        fence = records[0].number("fence") - behind if records else 1
        return p.store.runs.park(run_id, fence=fence, kind="k", reason="r")

    return step


def unpark(run_id: RunId) -> Step:
    return lambda p: p.store.runs.unpark(run_id)


def finish(run_id: RunId, seq: int) -> Step:
    return lambda p: p.store.timers.finish(run_id, [f"o/{run_id}/{seq}", f"c/{run_id}"])


def pass_time(ms: int) -> Step:
    return lambda p: p.pass_time(ms)


def read(run_id: RunId) -> Step:
    def step(p: Player) -> Any:
        claims = [p.store.workers.claims(owner) for owner in OWNERS]
        ids = [found for found, _ in p.store.runs.listing(closed=False, limit=9)]
        conditions = [Condition("n", ">=", 300), Condition("type", "=", "t")]
        found = {run_id for run_id, _ in p.store.visibility.page(conditions, page_size=9).runs}
        updates = [p.store.updates.read(run_id, update) for update in ("u1", "u2")]
        return claims, set(ids), found, updates, p.store.runs.counts(), p.store.runs.open_commands(run_id).keys()

    return step


a_run, an_owner, a_seq = st.sampled_from([*RUNS, RUNS[0], RUNS[0]]), st.sampled_from(OWNERS), st.integers(1, 2)
a_request = st.sampled_from(["r1", "r2", "{r3}%"])
an_attempt = st.sampled_from([1, 1, 1, 2])
an_effect = st.tuples(
    st.sampled_from(["activity", "activity", "timer", "eta", "out", "search", "answer", "shut"]),
    a_seq,
    st.sampled_from(DELAYS),
)
a_commit = st.builds(
    commit,
    a_run,
    an_owner,
    st.lists(an_effect, max_size=4),
    st.sampled_from([*[""] * 8, "completed", "failed"]),
    st.sampled_from([False, False, True]),
    st.booleans(),
    st.sampled_from([False, False, True]),
)
a_claim = st.builds(
    claim, a_run, a_seq, an_attempt, an_owner, st.sampled_from(["n1", "n2"]), st.sampled_from([0, 2_700])
)
a_report = st.builds(
    report,
    a_run,
    a_seq,
    an_attempt,
    st.sampled_from(["completed", "failed", "retry", "waiting"]),
    an_owner,
    st.sampled_from(["", "claimed", "scheduled,waiting"]),
    st.sampled_from([300, 2_700]),
)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        fresh_start, a_run, st.sampled_from(WORKFLOWS), a_request, st.sampled_from(["fail", "use_existing"]),
        st.sampled_from(["allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate"]), st.booleans(),
        st.sampled_from([0, 2_700]), st.sampled_from(["", "u1"]),
    ),
    st.builds(send_update, a_run, st.sampled_from(["u1", "u2"]), st.booleans()),
    st.builds(lease, a_run, an_owner, st.integers(-1, 2)),
    st.builds(lease, a_run, an_owner, st.integers(-1, 2)),
    st.builds(deliver, a_run, st.sampled_from(["", "s1", "s2"]), st.sampled_from(["", *OWNERS]), st.booleans()),
    a_commit,
    a_commit,
    a_commit,
    a_claim,
    a_claim,
    a_report,
    a_report,
    st.builds(
        finish_attempt, a_run, an_owner, a_seq, an_attempt, st.sampled_from(["", "", "", "completed"]), st.booleans()
    ),
    st.builds(dispatch, a_run, a_seq, an_attempt, st.sampled_from(["scheduled", "backoff"]), st.booleans()),
    st.builds(heartbeat, a_run, a_seq, an_attempt, st.sampled_from([b"", b"half"])),
    st.builds(fire, a_run, a_seq, st.sampled_from(["", *OWNERS])),
    st.builds(sweep, st.integers(1, 3)),
    st.builds(end, a_run, st.sampled_from([True, True, True, False])),
    st.builds(park, a_run, st.integers(0, 1)),
    st.builds(unpark, a_run),
    st.builds(finish, a_run, a_seq),
    st.builds(pass_time, st.sampled_from(PASSES)),
    st.builds(read, a_run),
)  # fmt: skip


BEGINNING: list[Step] = [
    start(RUNS[0], WORKFLOWS[0], "r0", "fail", "allow_duplicate", False, 0),
    commit(RUNS[0], "me", [("activity", 1, 20_300), ("timer", 2, 300)], "", False, True, False),
]


class Near:
    """A time, the same as one that is less than a second away."""

    def __init__(self, time_ms: float) -> None:
        self.time_ms = time_ms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Near) and abs(self.time_ms - other.time_ms) < 1_000

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Near({self.time_ms})"


def masked(player: Player) -> dict[str, Any]:
    """All keys with their contents, times as distances from now."""
    now = player.backend.now_ms()

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return Near(value - now)
        if isinstance(value, bytes) and value.isdigit() and len(value) in (12, 13):
            return Near(int(value) - now)
        if isinstance(value, bytes) and value[:1] == b"\x96" and value[-13:].isdigit():  # state of an attempt
            return value[:-13]  # a time inside is not made older in Redis
        if isinstance(value, bytes) and value[:1] == b"\x97" and value[-14:-1].isdigit():  # the same of a claimed one
            return value[:-14], value[-1:]
        if isinstance(value, bytes) and value[:3] == b"\x93\x4c\xcf":  # closing event
            return value[:3], value[11:]
        if isinstance(value, dict):
            return {name: plain(item) for name, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list) else value

    def entry(member: bytes) -> tuple[bytes, bytes, Near]:
        return member[:-21], member[-15:], Near(int.from_bytes(member[-21:-15], "big") - now)

    def content_of(key: str, content: Any) -> Any:
        if key.endswith(":index"):
            return sorted(map(entry, content), key=repr_of)
        if key.endswith(":ended"):
            return {run: list(map(entry, msgpack.unpackb(packed, raw=True))) for run, packed in content.items()}
        return plain(content)

    dump = player.backend.dump()
    return {key: (kind, content_of(key, content), ttl) for key, (kind, content, ttl) in dump.items()}


def repr_of(entry: tuple[bytes, bytes, Near]) -> tuple[bytes, bytes]:
    return entry[:2]


@pytest.fixture(scope="module")
def url(redis_server: Any) -> str:
    return str(redis_server.url_of(DATABASE))


EXAMPLES = int(os.environ.get("AGREEMENT_EXAMPLES", "100"))


@pytest.mark.timeout(600)  # a failure is made smaller, which takes its time
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=5, max_size=30))
def test_memory_and_redis_agree(url: str, steps: list[Step]) -> None:
    """Every call is answered alike, and in the end all keys hold the same; what is left has a reason to stay."""
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        client.flushdb()
    redis_backend, memory_backend = (
        RedisBackend(url, options=OPTIONS),
        MemoryBackend(database=DATABASE, options=OPTIONS),
    )
    real, twin = Player(redis_backend), Player(memory_backend)
    began = redis_backend.now_ms()
    try:
        for number, step in enumerate([*BEGINNING, *steps]):
            if redis_backend.now_ms() - began > SOON_MS:
                break  # Redis' clock runs on: from here on a timer may be due for one of the two and not for the other
            memory_backend.time_ms = redis_backend.now_ms() + redis_backend.passed_ms
            assert twin.play(step) == real.play(step), f"call {number}"
        assert masked(twin) == masked(real)
        real.backend.check()
        twin.backend.check()
    finally:
        real.backend.close()

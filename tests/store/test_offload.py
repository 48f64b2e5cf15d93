"""The claim check: large items are kept in a stage, and the store has a stand-in of each."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from orchestration.core import events
from orchestration.core.events import Code
from orchestration.errors import ConfigError, CorruptHistoryError, StoreError
from orchestration.store.attempts import AttemptId, first_state
from orchestration.store.base import StoreOptions
from orchestration.store.inputs import encode_input, stamp
from orchestration.store.offload import stand_in
from orchestration.store.offload.files import FileStage
from orchestration.store.offload.redis_hashes import RedisStage
from orchestration.store.offload.stages import Stage, StageError, open_stage
from orchestration.store.offload.stand_in import Claim, is_stand_in
from orchestration.store.results import Copy, Following
from orchestration.store.store import Store
from orchestration.store.updates import UpdateStatus, encode_answer
from tests.store.backends import Backend
from tests.store.runs import DIGEST, RETENTION_MS, Runs

DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000
LARGE = bytes(range(256)) * 20
SCOPE = "ab" * 32
ACTIVITY = msgpack.packb(["a", "t", "t", "q", LARGE, {}, 1, "k", {}])


@pytest.fixture(params=["file", "redis"])
def stage(request: pytest.FixtureRequest, tmp_path: Path, backend: Backend) -> Iterator[Stage]:
    where = str(tmp_path / "stage") if request.param == "file" else request.getfixturevalue("urls")[0]
    opened = open_stage(where, backend.keyspace, patience_s=1, connect_s=1, now_ms=backend.now_ms)
    assert opened is not None
    yield opened
    opened.close()


@pytest.fixture
def store(backend: Backend, stage: Stage, runs: Runs) -> Store:
    """The store of ``runs``, with a stage for what is larger than a kilobyte."""
    runs.store = Store(backend.connection, backend.keyspace, StoreOptions(offload_above=1024), stage=stage)
    return runs.store


def signal(value: bytes = LARGE) -> bytes:
    return encode_input(Code.SIGNAL, "topic", value, "")


def update(update_id: str = "u-1") -> bytes:
    return encode_input(Code.UPDATE, update_id, "name", LARGE, "")


def kept(backend: Backend) -> bytes:
    """Everything that the store's keys hold."""
    return repr(backend.dump()).encode()


def lifetime_ms(stage: Stage, scope: str, backend: Backend) -> int | None:
    """How long a scope is kept from now; None: without an end."""
    if isinstance(stage, RedisStage):
        left = int(stage._connection.call("PTTL", backend.keyspace.offload(scope)))
        return None if left == -1 else left
    assert isinstance(stage, FileStage)
    expires = stage._folder(scope) / ".expires"
    return int(expires.read_text()) - stage._now_ms() if expires.exists() else None


def lose(stage: Stage, scope: str, digest: str) -> bytes:
    data = stage.get(scope, digest)
    assert data is not None
    if isinstance(stage, RedisStage):
        stage._connection.call("HDEL", stage._keyspace.offload(scope), digest)
    else:
        assert isinstance(stage, FileStage)
        (stage._folder(scope) / digest).unlink()
    return data


# ---- stand-ins


@pytest.mark.parametrize(
    ("item", "make", "head"),
    [
        (encode_input(Code.STARTED, {}, LARGE), stand_in.of_input, b"\x93\x01"),
        (signal(), stand_in.of_input, b"\x93\x05"),
        (update(), stand_in.of_input, b"\x94\x0d\xa3u-1"),
        (update("u" * 100), stand_in.of_input, b"\x94\x0d\xd9\x64" + b"u" * 100),
        (stamp(signal(), 7), stand_in.of_event, b"\x93\x05\xcf" + (7).to_bytes(8, "big")),
        (stamp(update(), 7), stand_in.of_event, b"\x94\x0d\xcf" + (7).to_bytes(8, "big") + b"\xa3u-1"),
        (events.encode(events.Signal(7, "topic", LARGE)), stand_in.of_event, b"\x92\x05"),
        (events.encode(events.Complete(LARGE)), stand_in.of_event, b"\x92\x47"),
        (events.encode(events.ScheduleActivity(1, "t", LARGE)), stand_in.of_event, b"\x92\x40"),
        (ACTIVITY, stand_in.of_activity, b"\x92\xa1a"),
        (encode_answer(UpdateStatus.DONE, LARGE), stand_in.of_answer, b"\x92\xa2ok"),
        (encode_answer(UpdateStatus.REJECTED, LARGE), stand_in.of_answer, b"\x92\xa8rejected"),
    ],
)
def test_a_stand_in_keeps_what_scripts_read_and_gives_the_item_back(
    item: bytes, make: Callable[[bytes, str], tuple[bytes, bytes]], head: bytes
) -> None:
    assert not is_stand_in(item)
    stored, data = make(item, SCOPE)
    assert stored.startswith(head)
    assert is_stand_in(stored)
    assert len(stored) == len(head) + 75
    claim = Claim.read(stored)
    assert (claim.scope, claim.digest, claim.size) == (SCOPE, hashlib.sha256(data).hexdigest(), len(data))
    assert claim.problem(data) == ""
    assert claim.item(data) == item
    assert "changed" in claim.problem(data[:-1] + b"!")
    assert "bytes there" in claim.problem(data[:-1])


@pytest.mark.parametrize("item", [signal(), update()])
def test_the_stand_in_of_an_input_is_stamped_as_the_input_is(item: bytes) -> None:
    """Whoever puts the time in need not know which of the two it is; both refer to the same bytes."""
    of_input, data = stand_in.of_input(item, SCOPE)
    of_event, same = stand_in.of_event(stamp(item, 12345), SCOPE)
    assert stamp(of_input, 12345) == of_event
    assert same == data == item
    assert Claim.read(of_event).item(data) == stamp(item, 12345)


def test_contents_that_end_like_a_stand_in_are_contents() -> None:
    stored, _ = stand_in.of_input(signal(), SCOPE)
    for item in (
        signal(stored), encode_input(Code.SIGNAL, "", stored[-75:]), stamp(signal(stored), 7),
        events.encode(events.Complete(stored)), events.encode(events.Complete(stored[-75:])),
        msgpack.packb(["a", "t", "t", "q", b"", {}, 1, "k", stored[-75:]]),
        encode_answer(UpdateStatus.DONE, stored[-75:]), b"", b"t", b"\x90", stored[-75:], stored[:-1],
    ):  # fmt: skip
        assert not is_stand_in(item)


# ---- through the store


def test_every_large_item_of_a_run_is_offloaded_and_read_as_it_was(backend: Backend, store: Store, runs: Runs) -> None:
    started = encode_input(Code.STARTED, {}, LARGE)
    run_id = runs.started(inputs=[started, signal()])
    store.runs.deliver(run_id, signal(b"small"))
    store.runs.deliver(run_id, signal(LARGE + b"2"))
    store.updates.send(run_id, "u-1", update())
    inputs = [started, signal(), signal(b"small"), signal(LARGE + b"2"), update()]
    assert store.runs.unread(run_id) == inputs
    lease = runs.lease(run_id)
    assert lease.inputs == tuple(inputs)
    written = [stamp(item, lease.time_ms) for item in inputs]
    written.append(events.encode(events.ScheduleActivity(1, "t", LARGE)))
    delivery = runs.commit(
        lease, ["open", "1", ACTIVITY], ["open", "1:s", first_state("token")], ["input", signal(LARGE + b"own")],
        ["answer", "u-1", encode_answer(UpdateStatus.DONE, LARGE), ""], events=written,
    )  # fmt: skip
    assert delivery.lease is not None
    assert delivery.lease.inputs == (signal(LARGE + b"own"),)
    assert list(store.runs.history(run_id)) == written
    assert list(store.runs.history(run_id, start=3, stop=4)) == written[3:4]
    assert store.runs.last_event(run_id) == written[-1]
    assert store.runs.open_commands(run_id)["1"] == ACTIVITY
    assert sorted(store.runs.open_names(run_id)) == ["1", "1:s"]
    found = store.attempts.read(run_id, 1)
    assert found is not None
    assert found[0] == ACTIVITY
    answer = store.updates.read(run_id, "u-1")
    assert (answer.status, answer.value) == (UpdateStatus.DONE, LARGE)
    result = encode_input(Code.ACTIVITY_COMPLETED, 1, LARGE, {})
    store.attempts.report(AttemptId(run_id, 1, 1, "token"), outcome="completed", item=result, claimed_by="")
    assert store.runs.unread(run_id)[-1] == result
    runs.commit(delivery.lease, events=[stamp(signal(LARGE + b"own"), lease.time_ms)])
    tail = store.runs.take_lease(run_id, "me", known=len(written)).lease
    assert tail is not None
    assert tail.tail == (stamp(signal(LARGE + b"own"), lease.time_ms),)
    assert len(kept(backend)) < 8_000
    assert repr(LARGE[:64])[2:-1].encode() not in kept(backend)


def test_without_a_stage_every_byte_is_as_before(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(inputs=[encode_input(Code.STARTED, {}, LARGE)])
    store = runs.store
    store.runs.deliver(run_id, signal())
    keys = backend.keyspace.of_run(run_id)
    assert backend.call("LRANGE", keys.inbox(run_id), 0, -1) == [encode_input(Code.STARTED, {}, LARGE), signal()]
    lease = runs.lease(run_id)
    written = [stamp(item, lease.time_ms) for item in lease.inputs]
    runs.commit(lease, ["open", "1", ACTIVITY], ["open", "1:s", first_state("t")], events=written)
    assert backend.call("LRANGE", keys.history(run_id), 0, -1) == written
    assert backend.call("HGET", keys.open(run_id), "1") == ACTIVITY


def test_runs_begun_without_a_stage_go_on_with_one(backend: Backend, stage: Stage, runs: Runs) -> None:
    run_id = runs.started(inputs=[signal(LARGE + b"before")])
    store = Store(backend.connection, backend.keyspace, StoreOptions(offload_above=1024), stage=stage)
    store.runs.deliver(run_id, signal())
    assert store.runs.unread(run_id) == [signal(LARGE + b"before"), signal()]


def test_a_lease_brings_about_four_mebibytes_of_large_inputs_at_once(store: Store, runs: Runs) -> None:
    values = [bytes([n]) * 1_500_000 for n in range(4)]
    run_id = runs.started(inputs=[signal(value) for value in values])
    lease = runs.lease(run_id)
    assert lease.inputs == tuple(map(signal, values[:2]))
    answer = runs.commit(lease, consumed=2)
    assert answer.lease is not None
    assert answer.lease.inputs == tuple(map(signal, values[2:]))


def test_an_input_that_is_missing_is_told_and_those_before_it_are_read(
    backend: Backend, store: Store, stage: Stage, runs: Runs
) -> None:
    run_id = runs.started(inputs=[signal(b"first"), signal()])
    scope = store.claims.scope("order-1")
    digest = hashlib.sha256(signal()).hexdigest()
    data = lose(stage, scope, digest)
    lease = runs.lease(run_id)
    assert (lease.inputs, lease.problem) == ((signal(b"first"),), "")
    answer = runs.commit(lease, consumed=1)
    assert answer.lease is not None
    assert answer.lease.inputs == ()
    for part in (run_id, "unread input 1", digest, scope, stage.name, "it is not there"):
        assert part in answer.lease.problem
    stage.put(scope, digest, data)
    assert runs.lease(run_id).inputs == (signal(),)


def test_a_missing_or_damaged_event_is_a_corrupt_history_that_names_run_event_and_stage(
    backend: Backend, store: Store, stage: Stage, runs: Runs
) -> None:
    run_id = runs.started(inputs=[signal()])
    lease = runs.lease(run_id)
    runs.commit(lease, events=[b"\x92\x46\x01", stamp(signal(), lease.time_ms)])
    scope, digest = store.claims.scope("order-1"), hashlib.sha256(signal()).hexdigest()
    lose(stage, scope, digest)
    with pytest.raises(CorruptHistoryError, match=rf"event 2 of run {run_id} is offloaded.*it is not there") as caught:
        list(store.runs.history(run_id))
    assert stage.name in str(caught.value)
    stage.put(scope, digest, signal()[:-1] + b"!")
    with pytest.raises(CorruptHistoryError, match=r"event 2 .* its contents there have changed"):
        list(store.runs.history(run_id))
    bare = Store(backend.connection, backend.keyspace)
    with pytest.raises(CorruptHistoryError, match=r"event 2 .* no stage is configured here: set orchestration_offload"):
        list(bare.runs.history(run_id))
    assert list(bare.runs.history(run_id, stop=1)) == [b"\x92\x46\x01"]


def test_what_a_run_has_not_read_goes_over_to_the_one_that_follows(
    backend: Backend, store: Store, stage: Stage, runs: Runs
) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    store.runs.deliver(run_id, signal())
    store.updates.send(run_id, "u-1", update())
    new = store.runs.new_id("order-1")
    following = store.chains.pack(
        Following(run_id=new, digest=DIGEST, inputs=[encode_input(Code.STARTED, {}, LARGE)]), workflow_id="order-1"
    )
    runs.commit(lease, ending="continued_as_new", following=following)
    assert store.runs.unread(new) == [encode_input(Code.STARTED, {}, LARGE), signal(), update()]
    assert store.updates.read(new, "u-1").status is UpdateStatus.UNREAD
    assert lifetime_ms(stage, store.claims.scope("order-1"), backend) is None


def test_a_reset_shares_what_is_offloaded_and_a_fork_has_its_own(
    backend: Backend, store: Store, stage: Stage, runs: Runs
) -> None:
    run_id = runs.started(inputs=[encode_input(Code.STARTED, {}, LARGE)])
    lease = runs.lease(run_id)
    written = [stamp(lease.inputs[0], lease.time_ms), events.encode(events.ScheduleActivity(1, "t", LARGE))]
    runs.commit(lease, events=written, ending="completed")
    store.claims.settle("order-1")
    scope = store.claims.scope("order-1")
    assert lifetime_ms(stage, scope, backend) is not None

    def copy(workflow_id: str) -> Copy:
        new = Following(run_id=store.runs.new_id(workflow_id), digest=DIGEST, code=b"code", inputs=[signal()],
                        fields={"type": "shop:order"})  # fmt: skip
        return Copy(run=new, started=written[0], length=2, ops=[["open", "1", ACTIVITY]])

    reset = copy("order-1")
    record = store.runs.record(run_id)
    answer = store.repairs.reset(record, reset, code=Code.TERMINATED, details=["told", ""], chains=store.chains)
    assert answer.status == "reset"
    assert list(store.runs.history(reset.run.run_id)) == written
    assert lifetime_ms(stage, scope, backend) is None
    forked = copy("order-2")
    assert store.repairs.fork("order-2", forked, written, extra={}).status == "forked"
    other = store.claims.scope("order-2")
    stage.expire(scope, 0)
    copied = forked.run.run_id
    assert list(store.runs.history(copied)) == written
    assert store.runs.unread(copied) == [signal()]
    assert store.runs.open_commands(copied) == {"1": ACTIVITY}
    assert lifetime_ms(stage, other, backend) is None


def test_a_stage_that_is_away_leaves_the_run_to_others(
    backend: Backend, store: Store, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the script has done is done; whoever reads the run later finds the value."""
    run_id = runs.started(inputs=[signal()])

    def away(*_args: Any) -> None:
        raise StageError("away")

    with monkeypatch.context() as patched:
        patched.setattr(stage, "get", away)
        delivery = store.runs.take_lease(run_id, "me")
        assert (delivery.status, delivery.lease) == ("accepted", None)
        with pytest.raises(StageError, match=r"unread input 1 of run .* is offloaded .*: away"):
            store.runs.unread(run_id)
    assert store.runs.take_lease(run_id, "other").status == "busy"
    backend.pass_time(store.options.lease_ms + 1)
    again = store.runs.take_lease(run_id, "other").lease
    assert again is not None
    assert (again.inputs, again.tries) == ((signal(),), 2)


def test_a_redis_that_does_not_answer_is_away(backend: Backend) -> None:
    where = "unix:///nowhere/redis.sock"
    stage = open_stage(where, backend.keyspace, patience_s=0.1, connect_s=0.1, now_ms=backend.now_ms)
    assert stage is not None
    with pytest.raises(StageError, match=r"the Redis unix:///nowhere/redis\.sock does not answer"):
        stage.get(SCOPE, "d1")
    with pytest.raises(StoreError):
        stage.put(SCOPE, "d1", b"1")


# ---- lifetimes


def test_values_go_a_day_after_the_last_run_of_the_id_and_stay_when_another_starts(
    backend: Backend, store: Store, stage: Stage, runs: Runs
) -> None:
    scope = store.claims.scope("order-1")
    large = [encode_input(Code.STARTED, {}, LARGE)]
    runs.ended(inputs=large)
    store.claims.settle("order-1")
    left = lifetime_ms(stage, scope, backend)
    assert left is not None
    assert RETENTION_MS < left <= RETENTION_MS + DAY_MS
    assert left > RETENTION_MS + DAY_MS - 60_000
    second = runs.started(inputs=large)
    assert lifetime_ms(stage, scope, backend) is None
    store.claims.settle("order-1")  # the completion of the first run comes late, or again
    assert lifetime_ms(stage, scope, backend) is None
    store.runs.park(second, fence=1, kind="k", reason="r")
    store.claims.settle("order-1")
    assert lifetime_ms(stage, scope, backend) is None
    store.runs.end(second, status="terminated", code=Code.TERMINATED, details=["", ""])
    store.claims.settle("order-1")
    assert lifetime_ms(stage, scope, backend) is not None


def test_a_run_that_starts_while_another_is_completed_keeps_its_values(
    backend: Backend, store: Store, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.ended(inputs=[encode_input(Code.STARTED, {}, LARGE)])
    scope, expire = store.claims.scope("order-1"), stage.expire

    def expire_late(scope: str, after_ms: int) -> None:
        runs.started(inputs=[encode_input(Code.STARTED, {}, LARGE)])
        expire(scope, after_ms)

    monkeypatch.setattr(stage, "expire", expire_late)
    store.claims.settle("order-1")
    assert lifetime_ms(stage, scope, backend) is None


@pytest.mark.parametrize("way", ["start", "deliver", "report", "commit"])
def test_what_is_refused_leaves_nothing_that_stays(
    backend: Backend, store: Store, stage: Stage, runs: Runs, way: str
) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    runs.store.runs.end(run_id, status="terminated", code=Code.TERMINATED, details=["", ""])
    if way == "start":
        refused = runs.start(inputs=[encode_input(Code.STARTED, {}, LARGE)], reuse="reject_duplicate").status
    elif way == "deliver":
        refused = store.runs.deliver(run_id, signal()).status
    elif way == "report":
        item = encode_input(Code.ACTIVITY_COMPLETED, 1, LARGE, {})
        attempt = AttemptId(run_id, 1, 1, "token")
        refused = store.attempts.report(attempt, outcome="completed", item=item, claimed_by="").status
    else:
        refused = runs.commit(lease, events=[stamp(signal(), lease.time_ms)]).status
    assert refused in ("refused", "closed", "dropped", "fenced")
    assert lifetime_ms(stage, store.claims.scope("order-1"), backend) is not None


def test_what_is_sent_to_an_unknown_run_goes_nowhere(store: Store, stage: Stage) -> None:
    assert store.runs.deliver(store.runs.new_id("nobody"), signal()).status == "closed"
    assert stage.get(store.claims.scope("nobody"), hashlib.sha256(signal()).hexdigest()) is None


def test_values_of_a_run_that_waits_to_be_archived_stay(
    backend: Backend, stage: Stage, runs: Runs
) -> None:
    options = StoreOptions(offload_above=1024, archives=True)
    store = runs.store = Store(backend.connection, backend.keyspace, options, stage=stage)
    run_id = runs.ended(inputs=[encode_input(Code.STARTED, {}, LARGE)])
    scope = store.claims.scope("order-1")
    store.claims.settle("order-1")
    assert lifetime_ms(stage, scope, backend) is None
    store.archives.finish(run_id, workflow_id="order-1")
    assert lifetime_ms(stage, scope, backend) is not None


def test_a_stage_that_fails_at_the_end_of_a_run_keeps_nobody_waiting(
    store: Store, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runs.ended()

    def fail(*_args: Any) -> None:
        raise StoreError("away")

    monkeypatch.setattr(stage, "expire", fail)
    store.claims.settle("order-1")
    assert "keep the lifetime they have: away" in caplog.text


def test_a_value_whose_script_fails_is_an_orphan_with_an_end(
    backend: Backend, store: Store, stage: Stage, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The value is written first: the other way round a crash would leave a stand-in for nothing."""
    run_id = runs.ended()
    scope, digest = store.claims.scope("order-1"), hashlib.sha256(signal()).hexdigest()

    def fail(*_args: Any) -> None:
        assert stage.get(scope, digest) == signal()
        raise StoreError("refused")

    with monkeypatch.context() as patched:
        patched.setattr(backend.connection, "run", fail)
        with pytest.raises(StoreError, match="refused"):
            store.runs.deliver(run_id, signal())
    assert store.runs.unread(run_id) == []
    assert lifetime_ms(stage, scope, backend) is not None


# ---- files


@pytest.fixture
def files(tmp_path: Path) -> FileStage:
    return FileStage(tmp_path / "root", now_ms=lambda: NOW_MS)


def in_part_of(stage: FileStage, scope: str) -> FileStage:
    """The stage, about to look at the part where a scope is."""
    stage._turn = (int(scope[:2], 16) - 1) % 256
    return stage


def test_expired_files_are_deleted_and_only_they(files: FileStage, tmp_path: Path) -> None:
    old, young, living = ("ab" + digit * 62 for digit in "123")
    for scope in (old, young, living):
        files.put(scope, "d1", b"1")
        files.put(scope, "d2", b"2")
    files.expire(old, 0)
    files.expire(young, 1)
    files.expire("ab" + "4" * 62, 0)  # nothing is there, nothing is made
    assert in_part_of(files, old).tidy() == 1
    assert sorted(folder.name for folder in (tmp_path / "root" / "ab").iterdir()) == [young, living]
    assert files.get(old, "d1") is None
    assert (files.get(young, "d1"), files.get(living, "d2")) == (b"1", b"2")
    files.keep(young)
    files._now_ms = lambda: NOW_MS + DAY_MS
    assert in_part_of(files, old).tidy() == 0


def test_a_write_that_comes_while_a_folder_is_deleted_is_kept(
    files: FileStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = "ab" * 32
    files.put(scope, "d1", b"1")
    files.expire(scope, 0)
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        if self.name == scope:
            files.put(scope, "d2", b"2")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert in_part_of(files, scope).tidy() == 0
    assert (files.get(scope, "d1"), files.get(scope, "d2")) == (b"1", b"2")


def test_what_a_process_left_when_it_died_over_a_folder_is_seen_to(files: FileStage, tmp_path: Path) -> None:
    expired, written = "ab" + "1" * 62, "ab" + "2" * 62
    for scope in (expired, written):
        files.put(scope, "d1", b"1")
        files.expire(scope, 0)
        folder = files._folder(scope)
        folder.rename(folder.with_name(f".aside.1.2.{scope}"))
    (tmp_path / "root" / "ab" / f".aside.1.2.{written}" / ".expires").unlink()
    in_part_of(files, expired).tidy()
    assert files.get(written, "d1") is None  # who has put it aside may still be at it
    files._now_ms = lambda: int(time.time() * 1000) + DAY_MS
    in_part_of(files, expired).tidy()
    assert files.get(written, "d1") == b"1"
    assert [folder.name for folder in (tmp_path / "root" / "ab").iterdir()] == [written]


def test_a_file_is_whole_or_not_there(files: FileStage, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = "ab" * 32

    def fail(_fd: int) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", fail)
        with pytest.raises(StoreError, match=r"cannot be written to the folder .*no space left"):
            files.put(scope, "d1", b"1")
    assert list(files._folder(scope).iterdir()) == []
    files.put(scope, "d1", b"1")
    assert files.get(scope, "d1") == b"1"


def test_a_write_that_fails_is_tried_again(
    files: FileStage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be the outcome of an activity: a full disk must not lose it."""
    files._patience_s = 30.0
    pauses: list[float] = []
    put = FileStage._put

    def fail(folder: Path, digest: str, data: bytes) -> None:
        if len(pauses) < 6:
            raise OSError("no space left on device")
        put(folder, digest, data)

    monkeypatch.setattr(FileStage, "_put", staticmethod(fail))
    monkeypatch.setattr("time.sleep", pauses.append)
    files.put("ab" * 32, "d1", b"1")
    monkeypatch.undo()
    assert files.get("ab" * 32, "d1") == b"1"
    assert pauses == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32]
    assert "1 bytes cannot be written to the folder" in caplog.text


def test_a_folder_that_is_away_is_no_lost_value(files: FileStage, tmp_path: Path) -> None:
    files.put("ab" * 32, "d1", b"1")
    (tmp_path / "root").rename(tmp_path / "away")
    with pytest.raises(StageError, match=r"the folder .* is not there"):
        files.get("ab" * 32, "d1")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"orchestration_offload: the folder .* cannot be made"):
        FileStage(tmp_path / "file" / "below", now_ms=lambda: NOW_MS)


# ---- opening


def test_a_folder_may_be_written_as_a_url(tmp_path: Path, backend: Backend) -> None:
    stage = open_stage(f"file://{tmp_path}/a%20b", backend.keyspace, patience_s=1, connect_s=1, now_ms=backend.now_ms)
    assert stage is not None
    stage.put("ab" * 32, "d1", b"1")
    assert (tmp_path / "a b" / "default" / "ab" / ("ab" * 32) / "d1").read_bytes() == b"1"
    assert open_stage("", backend.keyspace, patience_s=1, connect_s=1, now_ms=backend.now_ms) is None


def test_a_url_that_cannot_be_read_is_refused_without_being_shown(backend: Backend) -> None:
    with pytest.raises(ConfigError, match="orchestration_offload is no URL of a Redis") as caught:
        open_stage("redis://host:secret/0", backend.keyspace, patience_s=1, connect_s=1, now_ms=backend.now_ms)
    assert "secret" not in repr(caught.value)


def test_the_name_of_a_redis_has_no_secret(backend: Backend) -> None:
    where = "redis://me:secret@far.example:6380/2?x=1"
    stage = open_stage(where, backend.keyspace, patience_s=1, connect_s=1, now_ms=backend.now_ms)
    assert stage is not None
    assert stage.name == "the Redis redis://far.example:6380/2"

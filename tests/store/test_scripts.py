"""Each script keeps to its header, and the verbs keep to the scripts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from lupa import lua51

from orchestration.store.attempts import AttemptId, first_state
from orchestration.store.audits import Mend
from orchestration.store.memory import MemoryConnection
from orchestration.store.results import Copy, Following, Lease, Step
from orchestration.store.scripts import Script, load_script, script_names
from orchestration.types import RunId
from tests.store.backends import Backend, MemoryBackend
from tests.store.runs import Runs
from tests.store.script_texts import head_and_body, read_header, source_of, used_places

Call = tuple[str, list[str], list[Any], list[Any]]


@pytest.mark.parametrize("name", script_names())
def test_a_script_compiles_in_lua_5_1(name: str) -> None:
    lua = lua51.LuaRuntime(encoding=None)
    assert not isinstance(lua.globals()[b"loadstring"](load_script(name).source.encode()), tuple)


@pytest.mark.parametrize("name", script_names())
def test_a_script_uses_what_its_header_names_and_nothing_else(name: str) -> None:
    header = read_header(name)
    assert used_places(name, "KEYS") == set(range(1, len(header.keys) + 1))
    body = head_and_body(name)[1]
    if header.more:
        assert "ipairs(ARGV)" in body
    else:
        assert used_places(name, "ARGV") == set(range(1, len(header.args) + 1))


@pytest.mark.parametrize("name", script_names())
def test_a_script_keeps_to_the_rules(name: str) -> None:
    source = load_script(name).source
    assert "@include" not in re.sub(r"--.*", "", source)
    assert not re.search(r"redis\.call\('(KEYS|SCAN|FLUSHDB|FLUSHALL|EVAL)'", source)
    made = re.findall(r"ARGV\[\d+\] \.\. ':(\w+):'", source)
    # An earlier run of the same workflow id is known to the script alone; its keys are in the same shard.
    # What an index names is found by it alone too.
    found = {"start_run": {"inbox", "updates", "run", "req"}, "list_runs": {"run", "extra"}}
    assert set(made) == found.get(name, set())


@pytest.mark.parametrize("name", script_names())
def test_every_status_that_a_script_answers_is_in_its_header(name: str) -> None:
    header = read_header(name)
    answered = set(re.findall(r"return \{'(\w+)'", re.sub(r"--.*", "", source_of(name))))
    if name == "sweep_shard":
        return
    assert answered <= header.statuses
    given = {"lease", "busy", "idle", "closed", "more", "done"}  # by included functions
    assert header.statuses - answered <= given, "a status that nothing answers"


class _Recorder:
    """Notes which script was run with what, and what it answered."""

    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection
        self.calls: list[Call] = []

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        reply = self._connection.run(script, keys, args)
        self.calls.append((script.name, list(keys), list(args), reply))
        for (called, of_type, _), key in zip(read_header(script.name).keys, keys, strict=True):
            kind = self._connection.call("TYPE", key).decode()
            assert kind in ("none", of_type), f"{script.name}: {called} is a {kind}"
        return reply

    def run_many(self, orders: Sequence[tuple[Script, Sequence[str], Sequence[Any]]]) -> list[Any]:
        return [self.run(*order) for order in orders]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    """Every verb of the store, called at least once."""
    backend: Backend = MemoryBackend()
    recorder = _Recorder(backend.connection)  # type: ignore[arg-type]
    backend.connection = recorder
    Backend.__init__(backend, recorder)
    runs, store = Runs(backend), backend.store
    run_id = runs.started(run_timeout_ms=60_000)
    runs.commit(
        runs.lease(run_id), ["open", "1", b"a"], ["open", "1:s", first_state("token")], ["sent", f"{run_id}/1"],
        ["timer", f"{run_id}/2/timer", 1], ["open", "2", b"t"], ["out", "o/1", b"e"],
    )  # fmt: skip
    attempt = AttemptId(RunId(run_id), 1, 1, "token")
    store.runs.deliver(run_id, b"in")
    store.updates.send(RunId(run_id), "u-1", b"in")
    store.attempts.dispatch(attempt, state="scheduled", entry=b"e")
    store.foreign.await_report(attempt, close_ms=5)
    store.foreign.note_report(attempt, queue="orders", leftover="id task", delay_ms=5)
    store.foreign.note_consumer("w@h", ["orders"], silent_ms=5)
    runs.claim(attempt)
    store.attempts.heartbeat(attempt, details=b"d", beat_ms=5)
    runs.report(attempt)
    step = Step(workflow_id="order-1", digest="d" * 64, commit_id="f", owner="me", events=[b"e"], ops=[])
    store.runs.finish(Lease(RunId(run_id), 2, backend.now_ms(), 1, 1, ()), step, attempt, claimed_by="worker")
    store.timers.fire(run_id, 2)
    runs.sweep()
    store.timers.forget(f"{run_id}/9/close")
    store.timers.finish(run_id, ["o/1"])
    store.runs.park(run_id, fence=2, kind="k", reason="r")
    store.runs.unpark(run_id)
    (inspected,) = store.audits.inspect([run_id])
    store.audits.mend(inspected, Mend([["ready"]]))
    store.audits.mark(f"c/{run_id}")
    store.followers.follow(run_id, for_ms=5)
    store.repairs.pause(run_id, by="ana", note="n")
    store.repairs.resume(run_id)
    store.chains.watch(run_id, "default/other/1", pid="{a|b}")
    store.chains.pin_bundle(run_id, digest="d" * 64, code=b"code", entry_id="a:b")
    store.chains.bar_start("order-1", "child/other/1")
    store.chains.note_told(run_id, "told")
    store.chains.extend_deadline(run_id, f"{run_id}/run", grace_ms=5)
    store.chains.begin(run_id)
    fence = store.runs.record(run_id).number("fence")
    store.repairs.change_bundle(run_id, fence=fence, old="d" * 64, new="e" * 64, code=b"other")
    new_id, other_id = store.runs.new_id("order-1"), store.runs.new_id("fork-1")
    following = Following(run_id=new_id, digest="e" * 64, code=b"other", inputs=[b"in"])
    copy = Copy(run=following, started=b"e", length=1, ops=[["open", "3", b"t"]], kept=[3])
    store.repairs.reset(store.runs.record(run_id), copy, code=75, details=["x", ""], chains=store.chains)
    forked = Copy(run=replace(following, run_id=other_id, fields={"type": "a:b"}), started=b"e", length=1)
    store.repairs.fork("fork-1", forked, [b"e"], extra={})
    run_id = new_id
    store.runs.end(run_id, status="terminated", code=75, details=["x"], outbox_id="c", entry=b"e")
    store.visibility.page([], page_size=5)
    store.archives.take(store.archives.shards[0], limit=5, hold_ms=1)
    store.archives.finish(run_id)
    held, _ = store.shown.take(store.shown.shards[0], limit=5, hold_ms=1)
    store.shown.put(run_id, after_ms=0, held=held)
    store.schedules.save("s", version=0, commit="c", definition=b"d", state=b"s", look_ms=1, waits=True)
    store.schedules.take(store.schedules.shards[0], limit=5, hold_ms=5)
    store.schedules.nudge("s")
    store.schedules.delete("s")
    _services(backend)
    store.workers.beat("w")
    store.workers.ages()
    store.workers.leave("w")
    store.workers.take_turn("w", turn_ms=5)
    store.items.put("a:s", b"k", b"v", node="", most=5, ttl_ms=5)
    store.items.read("a:s", b"k")
    store.items.page("a:s", prefix=b"", after=b"", limit=5, size_bytes=100)
    store.items.delete("a:s", b"k", node="")
    store.items.tidy("a:s", limit=5)
    actors = store.actors
    actors.join("n", {})
    actors.beat("n", silent_ms=5)
    actors.serve("n", "a:host")
    actors.serving("a:host")
    actors.run([
        actors.register("n", "1", "{n@a:host|1}", {}, name="a"), actors.claim_name("n", "n", "1", "{n@a:host|1}", "b"),
        actors.post("n", "n", [("1", b"m")]), actors.drop_name("n", "a"), actors.end("n", "1", "{n@a:host|1}", ["b"]),
    ])  # fmt: skip
    actors.take_mail("n", [])
    actors.bury("n")
    store.effects.tell_event("", b"event")
    return recorder.calls


def _services(backend: Backend) -> None:
    backend.call("ZADD", backend.keyspace.actors.nodes, 1, "node")
    services = backend.store.services
    record = services.take("node", "a:s", digest="d").record
    assert record is not None
    services.wish("a:s", "run", request="r")
    services.note("node", record, state="running")
    services.release("node", record, state="stopped")
    services.forget("a:s")


def test_every_script_has_a_verb(calls: list[Call]) -> None:
    assert {name for name, *_ in calls} == set(script_names())


@pytest.mark.parametrize("name", script_names())
def test_a_verb_hands_over_what_the_header_names(calls: list[Call], name: str) -> None:
    header = read_header(name)
    for keys, args in [(keys, args) for called, keys, args, _ in calls if called == name]:
        assert len(keys) == len(header.keys)
        assert len(args) >= len(header.args) if header.more else len(args) == len(header.args)
        for (_, _, pattern), key in zip(header.keys, keys, strict=True):
            wanted = (
                re.escape(pattern).replace("<shard>", r"orc:\{default\.\d+\}").replace("orc:<namespace>", "orc:default")
            ).replace("<actors>", r"orc:\{default\.p\}")
            assert re.fullmatch(re.sub(r"<[^>]*>", ".*", wanted), key), f"{key} is not {pattern}"


def test_all_keys_of_a_call_share_one_hash_tag(calls: list[Call]) -> None:
    for name, keys, _, _ in calls:
        tags = {match[0] if (match := re.search(r"\{[^}]+\}", key)) else key for key in keys}
        assert len(tags) == 1, name


def test_answers_begin_with_a_status_of_the_header(calls: list[Call]) -> None:
    for name, _, _, reply in calls:
        statuses = read_header(name).statuses
        if statuses:
            assert reply[0].decode() in statuses


def test_a_script_is_read_once() -> None:
    assert load_script("take_turn") is load_script("take_turn")
    with pytest.raises(FileNotFoundError):
        load_script("no_such_script")

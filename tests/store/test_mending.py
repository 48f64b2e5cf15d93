"""What is lost is made again out of the history."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgpack
import pytest

from orchestration.core import events, payload
from orchestration.health.judging import judge
from orchestration.health.mending import child_name, mend_run
from orchestration.settings import Settings
from orchestration.store.attempts import AttemptId
from orchestration.tasks.effects import Activity
from orchestration.types import RunId
from tests.store.runs import Runs

META = {"workflow_id": "order-1", "pid": "{node@host|order-1}", "ctx": {"tenant": "acme"}}
NO_ARGS = payload.EMPTY_ARRAY
BEGUN = 1_000_000


def with_history(runs: Runs, *commands: events.Event, ops: Any) -> RunId:
    """A run that has asked for these things, in its history and among its open commands."""
    started = events.Started(BEGUN, META)
    run_id = runs.started()
    lease = runs.lease(run_id)
    made = [[part.replace("RUN", run_id) if isinstance(part, str) else part for part in op] for op in ops]
    runs.commit(lease, *made, events=[events.encode(started), *map(events.encode, commands)])
    return run_id


def mended(runs: Runs, run_id: RunId) -> tuple[str, ...]:
    """Mend it, look that nothing is wrong any more, and that mending again does nothing."""
    runtime: Any = SimpleNamespace(
        store=lambda _: runs.store, settings=Settings(), registry=SimpleNamespace(of=lambda _: ())
    )
    (seen,) = runs.store.audits.inspect([run_id])
    _, faults = judge(seen, late_ms=10**15)
    assert faults
    mending = mend_run(runtime, "default", seen, faults)
    (again,) = runs.store.audits.inspect([run_id])
    if mending.status == "mended":
        assert judge(again, late_ms=10**15)[1] == []
        with runs.backend.unchanged():
            mend_run(runtime, "default", seen, faults)
    return mending.done if mending.status == "mended" else (mending.status,)


def entry(runs: Runs) -> tuple[str, list[Any]]:
    ((name, packed),) = runs.sweep().outbox
    runs.store.timers.finish(RunId(name.split("/")[1]), [name])
    return name, msgpack.unpackb(packed, raw=False, strict_map_key=False)


def test_a_timer_is_set_to_when_it_was_started_for(runs: Runs) -> None:
    run_id = with_history(runs, events.StartTimer(7, 5_000), ops=[["open", "7", b"t"]])
    assert mended(runs, run_id) == ("timer 7 is set again",)
    assert runs.members(runs.keys(run_id).timers)[f"{run_id}/7/timer"] == BEGUN + 5_000


def test_a_message_is_sent_again(runs: Runs) -> None:
    command = events.SendSignal(3, "{node@host|order-2}", "topic", NO_ARGS)
    run_id = with_history(runs, command, ops=[["open", "3", b"o"]])
    assert mended(runs, run_id) == ("message 3 is sent again",)
    name, content = entry(runs)
    assert name == f"m/{run_id}/3"
    assert content == ["signal", "default", run_id, 3, META["pid"], "{node@host|order-2}", "topic", NO_ARGS]


def test_a_cancel_request_is_sent_again(runs: Runs) -> None:
    command = events.CancelExternal(3, "{node@host|order-2}", "enough", False)
    run_id = with_history(runs, command, ops=[["open", "3", b"o"]])
    assert mended(runs, run_id) == ("request 3 is sent again",)
    name, content = entry(runs)
    assert name == f"x/{run_id}/3"
    assert content == ["cancel", "default", run_id, 3, META["pid"], "{node@host|order-2}", "enough", False]


def test_a_child_that_has_not_started_is_asked_for_again(runs: Runs) -> None:
    command = events.StartChild(2, "shop:child", "", NO_ARGS, {"id": "child-2", "ctx": {"step": 1}})
    run_id = with_history(runs, command, ops=[["open", "2", b"c"]])
    (seen,) = runs.store.audits.inspect([run_id])
    assert child_name(runs.store, seen, 2) == "child-2"
    assert mended(runs, run_id) == ("child 2 is asked for again",)
    name, content = entry(runs)
    assert name == f"k/{run_id}/2"
    kind, namespace, of, seq, pid, queue, wanted, host, args, options, context = content
    assert (kind, namespace, of, seq, pid) == ("child", "default", run_id, 2, META["pid"])
    assert (queue, wanted, host, args) == ("orders", "shop:child", "", NO_ARGS)
    assert options["id"] == "child-2"
    assert context == {"tenant": "acme", "step": 1}


def test_a_child_that_has_started_is_asked_for_its_end(runs: Runs) -> None:
    commands = [
        events.StartChild(2, "shop:child", "", NO_ARGS, {}),
        events.ChildStarted(BEGUN + 1, 2, "{node@host|other-name}"),
    ]
    run_id = with_history(runs, *commands, ops=[["open", "2", b"c"]])
    (seen,) = runs.store.audits.inspect([run_id])
    assert child_name(runs.store, seen, 2) == "other-name"
    assert mended(runs, run_id) == ("child 2 is asked for its end again",)
    assert entry(runs) == (f"w/{run_id}/2", ["watch", "default", run_id, 2, "{node@host|other-name}"])


@pytest.mark.parametrize("state", ["scheduled", "claimed", "backoff"])
def test_an_attempt_is_looked_after_again(runs: Runs, state: str) -> None:
    blob = Activity.encode(
        target="shop:pay", task="shop.pay", queue="", args=NO_ARGS, options={"start_to_close_timeout_ms": 9_000},
        scheduled_ms=BEGUN, key="k", context={},
    )  # fmt: skip
    attempt = runs.with_activity()
    run_id, keys = attempt.run_id, runs.keys(attempt.run_id)
    runs.backend.call("HSET", keys.open(run_id), "1", blob)
    if state != "scheduled":
        runs.claim(AttemptId(run_id, 1, 1, "token"))
    if state == "backoff":
        runs.report(attempt, "retry", delay_ms=60_000)
    (seen,) = runs.store.audits.inspect([run_id])
    assert seen.commands[0].state is not None
    since = seen.commands[0].state.since_ms
    runs.backend.call("ZREM", keys.pending, f"{run_id}/1")
    runs.backend.call("ZREM", keys.timers, f"{run_id}/1/close", f"{run_id}/1/retry")
    assert len(mended(runs, run_id)) == 1
    timers = runs.members(keys.timers)
    if state == "scheduled":
        assert f"{run_id}/1" in runs.members(keys.pending)
    elif state == "claimed":
        assert timers[f"{run_id}/1/close"] == since + 9_000
    else:
        assert timers[f"{run_id}/1/retry"] == since


def test_what_the_history_does_not_have_cannot_be_put_back(runs: Runs) -> None:
    run_id = with_history(runs, ops=[["open", "9", b"t"], ["open", "8", b"o"], ["open", "7", b"c"]])
    assert mended(runs, run_id) == ("nothing",)

"""What holds in the store between any two scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

__all__ = ["check_invariants"]

_OPEN = (b"running", b"parked", b"paused")
_TIMERS_OF_RUNS = ("run", "exec", "delay", "expire")


def check_invariants(dump: Mapping[str, tuple[str, Any, bool]]) -> None:
    """Indexes and counters agree with the records of the runs.

    Args:
        dump: As :meth:`tests.store.backends.Backend.dump` gives it.

    Raises:
        AssertionError: They do not.
    """

    def content(key: str) -> Any:
        return dump.get(key, ("", {}, False))[1]

    bundles: dict[str, Counter[bytes]] = {}
    for key, (_, fields, _) in dump.items():
        shard, is_run, run = key.partition(":run:")
        if not is_run or fields.get(b"status") not in _OPEN:
            continue
        name, status = run.encode(), fields[b"status"]
        assert name in content(f"{shard}:open-runs"), f"{run} is open, and not among the open runs"
        assert (name in content(f"{shard}:parked-runs")) == (status == b"parked"), f"{run} is {status!r}"
        assert status != b"paused" or name not in content(f"{shard}:ready"), f"{run} is paused, and ready"
        for kind in ("run", "extra", "hist", "inbox", "open", "updates"):
            assert not dump.get(f"{shard}:{kind}:{run}", ("", {}, False))[2], f"{kind} of {run} goes while it is open"
        if fields[b"bundle"]:
            bundles.setdefault(shard, Counter())[fields[b"bundle"]] += 1
    for key, (_, members, has_lifetime) in dump.items():
        shard, _, kind = key.rpartition(":")
        if kind == "bundles" and ":{" in key:
            assert {digest: int(count) for digest, count in members.items()} == bundles.get(shard, {}), key
        elif kind in ("timers", "handed", "pending"):
            for member in members:
                run, _, rest = member.decode().partition("/")
                seq = rest.partition("/")[0]
                if seq not in _TIMERS_OF_RUNS:
                    assert seq.encode() in content(f"{shard}:open:{run}"), f"{key} has {member!r}: no such command"
        elif ":wf:" in key and f"{key.partition(':wf:')[0]}:run:{members[b'run'].decode()}" in dump:
            is_open = content(f"{key.partition(':wf:')[0]}:run:{members[b'run'].decode()}").get(b"status") in _OPEN
            assert not (is_open and has_lifetime), f"{key} goes while its run is open"
        elif kind == "schedules-due":
            assert set(members) <= set(content(f"{shard}:schedules")), key

"""Runs the tests of the store in memory once for each mutant, in a fork of a process that has collected them."""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from typing import Any, Final

import pytest

from orchestration.store import memory
from tests.mutants.making import Mutant, all_mutants, put_in, scripts_with

SURVIVORS: Final = {
    "include/run.lua: if #pushes == 0 then return end": "there and back between two databases, for nothing",
    "include/run.lua: if #pushes == 0 then return nil end": "there and back between two databases, for nothing",
    "include/run.lua: redis.call('ZADD', ready, f[3], run)": "the lease has put it there already",
    "list_runs.lua: if page == 0 then return false end": "counts in more calls, and the same",
    "list_runs.lua: if added > 0 then return false end": "reads more than it needs, and finds the same",
    "list_runs.lua: if #found == 0 then return true end": "looks once more where nothing is",
    "list_runs.lua: if not cut then return true end": "looks once more where nothing is",
    "mend_run.lua: if code ~= '' and string.sub(bundle, -#f[3]) ~= f[3] then return {'moved', f[2]} end":
        "a move to other code has raised the fence, which is compared before",
}
"""Changes that no test can see, by :attr:`Mutant.key`, with the reason."""

_TIMED_OUT: Final = 1
"""Exit code of a process in which pytest-timeout has ended a test."""

_SELECTION: Final = [
    "tests/store", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not slow", "-k", "memory",
    "--timeout", "30",
    "-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning",
]  # fmt: skip


class _Runner:
    """Takes over pytest's loop.

    Args:
        mutants: What is tried.
    """

    def __init__(self, mutants: list[Mutant]) -> None:
        self._mutants = mutants
        self.survivors: list[Mutant] = []
        self.tried = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = list(session.items)
        used = self._used(session, items)
        latest: dict[str, int] = {}
        for number, mutant in enumerate(self._mutants, 1):
            scripts = scripts_with(mutant.file)
            chosen = [item for item in items if used[item.nodeid] & scripts]
            # Those come first that have failed last, then those that are about this script.
            chosen.sort(key=lambda item: (-latest.get(item.nodeid, 0), len(used[item.nodeid])))
            failed = self._failed(session, mutant, chosen)
            self.tried += 1
            if failed is not None:
                latest[chosen[failed].nodeid] = number
            else:
                self.survivors.append(mutant)
                place = f"[{number}/{len(self._mutants)}] {mutant.file}:{mutant.line}"
                print(f"\n{place} survived {len(chosen)} tests: {mutant.before}", flush=True)
        return True

    def _used(self, session: pytest.Session, items: list[pytest.Item]) -> dict[str, set[str]]:
        """The scripts that each test runs; all tests have to pass."""
        used: dict[str, set[str]] = defaultdict(set)
        now: list[str] = [""]
        original = memory.MemoryConnection.run

        def run(connection: Any, script: Any, *args: Any) -> Any:
            used[now[0]].add(script.name)
            return original(connection, script, *args)

        memory.MemoryConnection.run = run  # type: ignore[method-assign]
        for item, following in zip(items, [*items[1:], None], strict=True):
            now[0] = item.nodeid
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        memory.MemoryConnection.run = original  # type: ignore[method-assign]
        assert not session.testsfailed, "the tests fail without any change"
        return used

    def _failed(self, session: pytest.Session, mutant: Mutant, items: list[pytest.Item]) -> int | None:
        """Which test has failed, or gone on for ever, with the change; None: none."""
        reader, writer = os.pipe()
        child = os.fork()
        if child:
            os.close(writer)
            with os.fdopen(reader) as answer:
                *begun, last = answer.read().split(",")
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            is_held = last == "failed" or (code == _TIMED_OUT and begun)
            return int(begun[-1]) if is_held else None  # a change that could not be tried has been held by nothing
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            put_in(mutant)
            for number, item in enumerate(items):
                os.write(writer, f"{number},".encode())
                following = items[number + 1] if number + 1 < len(items) else None
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    os.write(writer, b"failed")
                    break
        finally:
            os._exit(0)


def main(names: list[str]) -> int:
    """Try all mutants, or those of some files; returns an exit code."""
    mutants = [mutant for mutant in all_mutants() if not names or mutant.file.removesuffix(".lua") in names]
    runner = _Runner(mutants)
    begun = time.monotonic()
    pytest.main(_SELECTION, plugins=[runner])
    found = [mutant for mutant in runner.survivors if mutant.key not in SURVIVORS]
    print(f"{len(mutants)} mutants in {time.monotonic() - begun:.0f} s: {len(runner.survivors)} survived")
    for mutant in found:
        print(f"  {mutant.file}:{mutant.line}: {mutant.before}")
    stale = set(SURVIVORS) - {mutant.key for mutant in all_mutants()}
    for key in sorted(stale):
        print(f"  named as a survivor, and not there any more: {key}")
    if runner.tried != len(mutants) or not mutants:
        why = "the tests fail without any change, or no file is so named"
        print(f"  only {runner.tried} of {len(mutants)} were tried: {why}")
        return 1
    return 1 if found or stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

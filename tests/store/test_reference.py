"""The reference of keys says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from orchestration.store.keys import Keyspace
from orchestration.store.scripts import script_names
from tests.store.backends import OF_ACTORS, OF_SCHEDULE, OF_SHARD, OF_STORE, MemoryBackend
from tests.store.runs import DIGEST, Runs
from tests.store.script_texts import read_header, written_keys

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "redis-keys.md"


def _rows() -> dict[str, tuple[str, frozenset[str], str]]:
    """For each key pattern on the page: type, scripts that write it, lifetime."""
    row = r"^\| `([^`]+:[^`]+)` \| (\w+) \| .* \| ([\w, ]+) \| ([^|]+) \|$"
    rows = re.findall(row, PAGE.read_text("utf-8"), re.MULTILINE)
    return {pattern: (kind, frozenset(names.split(", ")) - {"nothing"}, life) for pattern, kind, names, life in rows}


def test_the_page_has_every_key_of_the_scripts_with_its_type_and_writers() -> None:
    wanted: dict[str, tuple[str, set[str]]] = {}
    for name in script_names():
        written = written_keys(name)
        for called, kind, pattern in read_header(name).keys:
            entry = wanted.setdefault(re.sub(r"<owner[^>]*>", "<owner>", pattern), (kind, set()))
            assert entry[0] == kind
            if called in written:
                entry[1].add(name)
    wanted = {pattern: (kind, writers) for pattern, (kind, writers) in wanted.items() if writers}
    assert {pattern: (kind, set(writers)) for pattern, (kind, writers, _) in _rows().items()} == wanted


def test_the_page_has_every_name_of_the_key_module() -> None:
    keyspace = Keyspace("orc", "<namespace>", 1)
    shard, actors = keyspace.all[0], keyspace.actors
    names = {
        shard.workflow("<workflow id>"), shard.request("<request id>"), shard.record("<run>"), shard.extra("<run>"),
        shard.history("<run>"), shard.inbox("<run>"), shard.open("<run>"), shard.claims("<owner>"),
        shard.bundle("<digest>"), shard.updates("<run>"), shard.schedule("<schedule id>"), keyspace.meta,
        keyspace.workers, keyspace.turn, keyspace.consumers, actors.items("<store id>"), actors.item_keys("<store id>"),
        actors.item_ends("<store id>"), actors.receipt("<slot>"), actors.node("<id>"),
        actors.living("<id>"), actors.named("<id>"), actors.mail("<id>"), actors.host("<entry id>"),
        actors.service("<instance>"),
        *(getattr(actors, name) for name, what in vars(type(actors)).items() if isinstance(what, property)),
        *(getattr(shard, name) for name, what in vars(type(shard)).items() if isinstance(what, property)),
    }  # fmt: skip
    assert {name.replace(shard.tag, "<shard>").replace(actors.tag, "<actors>") for name in names} == set(_rows())
    assert shard.done_channel("<run>").replace(shard.tag, "<shard>") in PAGE.read_text("utf-8")
    assert keyspace.offload("<scope>") in PAGE.read_text("utf-8")


def test_the_page_names_the_keys_that_stay() -> None:
    """The other tests check, after each of them, that nothing else is left without a lifetime."""
    rows = {pattern: life for pattern, (_, _, life) in _rows().items() if life.startswith("stays")}
    stays = {pattern.split(":")[-1] for pattern in rows if not pattern.startswith("<actors>")}
    assert stays == OF_SHARD | OF_STORE | OF_SCHEDULE
    assert {pattern.split(":")[1] for pattern in rows if pattern.startswith("<actors>")} == OF_ACTORS


def test_the_page_has_the_fields_of_a_record() -> None:
    backend = MemoryBackend()
    runs = Runs(backend)
    attempt = runs.with_activity()
    runs.claim(attempt)
    runs.claim(attempt)
    runs.report(attempt)
    runs.report(attempt)
    backend.store.repairs.pause(attempt.run_id, by="b", note="n")
    backend.store.followers.follow(attempt.run_id, for_ms=5)
    fields = set(backend.store.runs.record(attempt.run_id).fields)
    backend.store.repairs.resume(attempt.run_id)
    backend.store.repairs.change_bundle(attempt.run_id, fence=4, old=DIGEST, new="e" * 64, code=b"other")
    backend.store.runs.park(attempt.run_id, fence=5, kind="k", reason="r")
    fields |= set(backend.store.runs.record(attempt.run_id).fields)
    backend.store.runs.end(attempt.run_id, status="terminated", code=75, details=[])
    fields |= set(backend.store.runs.record(attempt.run_id).fields)
    table = PAGE.read_text("utf-8").partition("## Fields of the record")[2].partition("## Fields of the open")[0]
    named = set(re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    assert {re.sub(r":.*", ":<why>", field) for field in fields} <= named

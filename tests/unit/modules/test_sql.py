# ruff: noqa: E501 - Lua sources read better on one line
"""The module ``sql``, with files of SQLite."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.core import payload
from orchestration.core.lua.host import HostError
from orchestration.modules import sql_engines
from orchestration.modules.caller import Caller
from orchestration.modules.sql_statements import bind
from orchestration.modules.verbs import perform
from orchestration.registry import DefinitionsError, Registry, load_registry
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project

FRAME = """
local sql, funcs, time = require("sql"), require("funcs"), require("time")
local db = assert(sql.get("app:db"))
local function plain(value, err) return { value = value, kind = err and err:kind(), message = err and err:message(), retryable = err and err:retryable() } end
return function(...)
%s
end
"""

BODIES = {
    "query": "local text, params = ... return plain(db:query(text, params))",
    "execute": "local text, params = ... return plain(db:execute(text, params))",
    "holes": "return db:query('SELECT ? AS a, ? AS b, ? AS c', { 1, nil, sql.NULL })[1]",
    "null_by_name": "return db:query('SELECT :a IS NULL AS yes', { a = sql.NULL })[1]",
    "types": "db:execute('CREATE TABLE t (i INTEGER, f REAL, s TEXT, b BLOB)') db:execute('INSERT INTO t VALUES (?, ?, ?, ?)', { 2^53 | 0, 1.5, 'ä', '\\xff\\0' }) return db:query('SELECT * FROM t')",
    "commit": "local tx = assert(db:begin()) tx:execute('INSERT INTO items (name) VALUES (?)', { 'in' }) local inside, outside = #tx:query('SELECT * FROM items'), 0 local ok = tx:commit() return { inside, ok, #db:query('SELECT * FROM items'), (select(2, tx:query('SELECT 1'))):message(), (select(2, tx:commit())):kind() }",
    "rollback": "local tx = db:begin() tx:execute('INSERT INTO items (name) VALUES (?)', { 'in' }) tx:rollback() return #db:query('SELECT * FROM items')",
    "leaves": "local tx = db:begin() tx:execute('INSERT INTO items (name) VALUES (?)', { 'in' }) return 'left'",
    "dies": "local tx = db:begin() tx:execute('INSERT INTO items (name) VALUES (?)', { 'in' }) error('boom')",
    "savepoints": """
        local tx = db:begin()
        local function add(name) assert(tx:execute('INSERT INTO items (name) VALUES (?)', { name })) end
        add('a') assert(tx:savepoint('s1')) add('b') assert(tx:savepoint('s2')) add('c')
        assert(tx:rollback_to('s1'))
        local _, gone = tx:rollback_to('s2')
        add('d') assert(tx:savepoint('s3')) add('e') assert(tx:release('s3'))
        local _, twice = tx:release('s3')
        tx:savepoint('x') local _, again = tx:savepoint('x')
        assert(tx:commit())
        return { names = db:query('SELECT name FROM items ORDER BY name'), gone = gone:kind(), twice = twice:kind(), again = again:kind() }
    """,
    "prepared": "local s = assert(db:prepare('INSERT INTO items (name) VALUES (?)')) for i = 1, 3 do assert(s:execute({ 'n' .. i })) end local q = db:prepare('SELECT count(*) AS n FROM items') local n = q:query()[1].n s:close() return { n, (select(2, s:execute({ 'x' }))):message() }",
    "released": "local other = sql.get('app:db') local s = other:prepare('SELECT 1') other:release() other:release() return { (select(2, other:query('SELECT 1'))):kind(), (select(2, other:begin())):kind(), (select(2, s:query())):kind(), tostring(other), db:query('SELECT 1 AS one')[1].one }",
    "kinds": "return { db:type(), tostring(sql.NULL), sql.type.SQLITE }",
    "get": "local id = ... return plain(sql.get(id) ~= nil and 'there', select(2, sql.get(id)))",
    "unique": "db:execute('INSERT INTO items (name) VALUES (?)', { 'one' }) return { plain(db:execute('INSERT INTO items (name) VALUES (?)', { 'one' })), plain(db:execute('INSERT INTO items (name) VALUES (?)', { sql.NULL })) }",
    "together": "local done, n = channel.new(4), 0 for i = 1, 4 do coroutine.spawn(function() assert(db:execute('INSERT INTO items (name) VALUES (?)', { 'p' .. i })) done:send(1) end) end for i = 1, 4 do n = n + done:receive() end return n",
    "isolated": "local tx = assert(db:begin({ isolation = sql.isolation.SERIALIZABLE })) local _, e = db:begin({ isolation = 'NONSENSE' }) local _, odd = db:begin({ isolation = '\\xff' }) tx:rollback() return { e:kind(), odd:kind() }",
    "shared": "local tx, done, sum = db:begin(), channel.new(4), 0 for i = 1, 4 do coroutine.spawn(function() done:send(tx:query('SELECT ? AS n', { i })[1].n) end) end for i = 1, 4 do sum = sum + done:receive() end tx:commit() return sum",
    "many": "local e for i = 1, 17 do local t t, e = db:begin() end return e:kind()",
}

project = Project()
for _name, _body in BODIES.items():
    project.function(_name, FRAME % _body, modules=("sql", "funcs", "time"))
project.entry("db", "db.sql.sqlite", file_env="TEST_SQL_FILE", row_limit=50, pool={"max_open": 20})
project.entry("unset", "db.sql.sqlite", file_env="TEST_SQL_UNSET")
project.entry("hasty", "db.sql.sqlite", file_env="TEST_SQL_FILE", options={"timeout": 0})
project.entry("nowhere", "db.sql.postgres", host="127.0.0.1", port=1, database="x", username="u", password="secret")
project.function("ask", "local sql = require('sql') return function(id) local rows, e = sql.get(id):query('SELECT * FROM sqlite_master') return { kind = e and e:kind(), message = e and e:message() } end", modules=("sql",))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "data.sqlite"
    monkeypatch.setenv("TEST_SQL_FILE", str(path))
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")
    connection.close()
    return path


@pytest.fixture
def env(registry: Registry, file: Path) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(registry=registry) as env:
        yield env


def run(env: WorkflowEnvironment, target: str, *args: Any) -> Any:
    return env.client.call(f"app:{target}", *args, timeout=20)


def names(file: Path) -> list[str]:
    connection = sqlite3.connect(file)
    try:
        return [name for (name,) in connection.execute("SELECT name FROM items ORDER BY name")]
    finally:
        connection.close()


def test_parameters_are_a_list_or_have_names(env: WorkflowEnvironment) -> None:
    assert run(env, "query", "SELECT ? AS a, ? AS b", [1, "x"])["value"] == [{"a": 1, "b": "x"}]
    assert run(env, "query", "SELECT $2 AS a, $1 AS b, $2 AS c", [1, 2])["value"] == [{"a": 2, "b": 1, "c": 2}]
    assert run(env, "query", "SELECT :a AS a, :b || :b AS b", {"a": 5, "b": "y"})["value"] == [{"a": 5, "b": "yy"}]
    assert run(env, "query", "SELECT 'what? :a' AS text -- ? :b\n")["value"] == [{"text": "what? :a"}]


def test_no_value_is_ever_part_of_the_statement(env: WorkflowEnvironment, file: Path) -> None:
    evil = "x'); DROP TABLE items; --"
    run(env, "execute", "INSERT INTO items (name) VALUES (?)", [evil])
    run(env, "execute", "INSERT INTO items (name) VALUES (:n)", {"n": evil + "2"})
    assert names(file) == [evil, evil + "2"]


def test_null_goes_in_as_a_hole_or_by_its_name_and_comes_out_as_absence(env: WorkflowEnvironment) -> None:
    assert run(env, "holes") == {"a": 1}
    assert run(env, "null_by_name") == {"yes": 1}


def test_values_keep_their_types(env: WorkflowEnvironment) -> None:
    assert run(env, "types") == [{"i": 2**53, "f": 1.5, "s": "ä", "b": b"\xff\x00"}]


def test_wrong_statements_and_values_are_invalid(env: WorkflowEnvironment) -> None:
    for statement, values in (
        ("", None), ("  ", None), ("SELEKT 1", None), ("SELECT * FROM nothing", None), ("SELECT ?", []),
        ("SELECT 1", [1]), ("SELECT :a", {"b": 1}), ("SELECT ?", [{"a": 1}]), ("SELECT 1; SELECT 2", None),
        (b"SELECT '\xff'", None), ("SELECT zeroblob(3000000) AS a", None),
    ):  # fmt: skip
        found = run(env, "query", statement, values)
        assert found["kind"] == "Invalid", (statement, values, found)
        assert found["retryable"] is False


def test_execute_says_what_it_did(env: WorkflowEnvironment) -> None:
    assert run(env, "execute", "INSERT INTO items (name) VALUES (?)", ["a"])["value"] == {
        "rows_affected": 1, "last_insert_id": 1,
    }  # fmt: skip
    assert run(env, "execute", "UPDATE items SET name = name || 'x'")["value"]["rows_affected"] == 1
    assert run(env, "execute", "DELETE FROM items WHERE id = 99")["value"]["rows_affected"] == 0


def test_a_query_that_changes_rows_keeps_its_work(env: WorkflowEnvironment, file: Path) -> None:
    assert run(env, "query", "INSERT INTO items (name) VALUES ('r') RETURNING id")["value"] == [{"id": 1}]
    assert names(file) == ["r"]


def test_a_violated_constraint_has_its_kind(env: WorkflowEnvironment) -> None:
    unique, null = run(env, "unique")
    assert unique["kind"] == "AlreadyExists"
    assert null["kind"] == "Invalid"


def test_a_transaction_is_kept_by_its_commit_alone(env: WorkflowEnvironment, file: Path) -> None:
    assert run(env, "rollback") == 0
    assert run(env, "commit") == [1, True, 1, "the transaction is over", "Invalid"]
    assert names(file) == ["in"]


@pytest.mark.parametrize("how", ["leaves", "dies"])
def test_the_end_of_the_caller_rolls_its_transactions_back(env: WorkflowEnvironment, file: Path, how: str) -> None:
    if how == "dies":
        with pytest.raises(Exception, match="boom"):
            run(env, how)
    else:
        run(env, how)
    assert names(file) == []
    run(env, "execute", "INSERT INTO items (name) VALUES ('free again')")


def test_a_transaction_that_begins_while_its_caller_ends_is_rolled_back(env: WorkflowEnvironment, file: Path) -> None:
    caller = Caller(runtime=env._parts.runtime, entry_id="app:x", pid="{a|b}")
    caller.close()
    ok, failure = perform(caller, "sql.begin", payload.encode(["app:db", None]))
    assert not ok
    assert payload.decode_failure(failure)["message"] == "the transaction is over"
    assert sql_engines._engines[env._parts.runtime]["app:db"].pool.checkedout() == 0  # type: ignore[attr-defined]


def test_savepoints(env: WorkflowEnvironment) -> None:
    assert run(env, "savepoints") == {
        "names": [{"name": "a"}, {"name": "d"}, {"name": "e"}], "gone": "NotFound", "twice": "NotFound",
        "again": "AlreadyExists",
    }  # fmt: skip


def test_a_prepared_statement_is_used_until_it_is_closed(env: WorkflowEnvironment) -> None:
    assert run(env, "prepared") == [3, "statement closed"]


def test_a_released_database_is_of_no_use_and_others_are(env: WorkflowEnvironment) -> None:
    assert run(env, "released") == ["Invalid", "Invalid", "Invalid", "sql.DB{released}", 1]


def test_get_needs_a_database(env: WorkflowEnvironment) -> None:
    assert run(env, "get", "")["kind"] == "Invalid"
    assert run(env, "get", "app:nothing")["kind"] == "NotFound"
    assert run(env, "get", "app:get")["kind"] == "NotFound"
    assert run(env, "get", "app:db")["value"] == "there"
    assert run(env, "kinds") == ["sqlite", "NULL", "sqlite"]


def test_too_many_rows_are_an_error(env: WorkflowEnvironment) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n"
    assert len(run(env, "query", numbers.format(50))["value"]) == 50
    found = run(env, "query", numbers.format(51))
    assert found["kind"] == "Invalid"
    assert "more than 50 rows" in found["message"]


def test_coroutines_may_use_a_database_and_a_transaction_at_once(env: WorkflowEnvironment, file: Path) -> None:
    assert run(env, "together") == 4
    assert len(names(file)) == 4
    assert run(env, "shared") == 10


def test_isolation_and_its_mistakes(env: WorkflowEnvironment) -> None:
    assert run(env, "isolated") == ["Invalid", "Invalid"]


def test_too_many_transactions_are_refused(env: WorkflowEnvironment) -> None:
    assert run(env, "many") == "RateLimited"


def test_a_locked_database_is_unavailable(env: WorkflowEnvironment, file: Path) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    found = run(env, "ask", "app:hasty")
    connection.close()
    assert (found["kind"], found["message"]) == ("Unavailable", "database is locked")


def test_a_secret_is_in_no_error(env: WorkflowEnvironment) -> None:
    found = run(env, "ask", "app:nowhere")
    assert found["kind"] in ("Unavailable", "Internal")
    assert "secret" not in found["message"]


def test_a_variable_that_is_not_set_is_named(env: WorkflowEnvironment) -> None:
    found = run(env, "ask", "app:unset")
    assert found["kind"] == "Internal"
    assert "TEST_SQL_UNSET" in found["message"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"kind": "db.sql.sqlite"}, "names no file"),
        ({"kind": "db.sql.postgres"}, "names no server"),
        ({"kind": "db.sql.mysql", "host": "h", "port": "many"}, "is no port"),
        ({"kind": "db.sql.postgres", "url": "somewhere"}, "is no URL"),
        ({"kind": "db.sql.sqlite", "file": "x", "pool": {"max_open": 0}}, "max_open"),
    ],
)
def test_a_definition_that_cannot_work_is_refused_when_it_is_loaded(
    tmp_path: Path, fields: dict[str, Any], text: str
) -> None:
    other = Project()
    other.entry("db", fields.pop("kind"), **fields)
    with pytest.raises(DefinitionsError, match=text):
        load_registry(other.write(tmp_path / "other"))


@pytest.mark.parametrize("module", ["sql", "http_client", "queue", "events", "metrics"])
def test_workflows_cannot_have_what_acts_outside(tmp_path: Path, module: str) -> None:
    other = Project()
    other.workflow("flow", "return function() end", modules=(module,))
    with pytest.raises(DefinitionsError, match=module):
        load_registry(other.write(tmp_path / "other"))


@pytest.mark.parametrize(
    ("statement", "values", "style", "found"),
    [
        ("a = ? AND b = '?'", [1], "format", ("a = %s AND b = '?'", (1,))),
        ("a LIKE '5%' AND b = $1", [1], "pyformat", ("a LIKE '5%%' AND b = %s", (1,))),
        ("a::int = :a -- :b", {"a": 1}, "qmark", ("a::int = ? -- :b", (1,))),
        ("a ?? b = ?", [1], "qmark", ("a ? b = ?", (1,))),
        ("$$ ? :x $$ || ?", [1], "format", ("$$ ? :x $$ || %s", (1,))),
        ('"?" /* ? */ ?', [1], "qmark", ('"?" /* ? */ ?', (1,))),
        ("'it''s ?' = ?", [1], "qmark", ("'it''s ?' = ?", (1,))),
        (r"'\' = ?", [1], "qmark", (r"'\' = ?", (1,))),
        ("$a$ $$ ? $a$ || ?", [1], "format", ("$a$ $$ ? $a$ || %s", (1,))),
        ("a$b$c = ?", [1], "format", ("a$b$c = %s", (1,))),
        (r"E'it\'s ?' || ?", [1], "format", (r"E'it\'s ?' || %s", (1,))),
        (r"LIKE'\' || ?", [1], "format", (r"LIKE'\' || %s", (1,))),
        ("'never closed ?", [], "qmark", ("'never closed ?", ())),
        ("/* never closed ?", [], "qmark", ("/* never closed ?", ())),
        ("$1 = $10", list(range(10)), "qmark", None),
    ],
)
def test_placeholders_become_those_of_the_driver(statement: str, values: Any, style: str, found: Any) -> None:
    if found is None:
        with pytest.raises(HostError, match="no parameter for the value 2"):
            bind(statement, values, paramstyle=style)
    else:
        assert bind(statement, values, paramstyle=style) == found


def test_a_backslash_hides_a_quote_in_mysql_alone() -> None:
    assert bind(r"'it\'s ?' = ?", [1], paramstyle="format", backslashes=True) == (r"'it\'s ?' = %s", (1,))


def test_connections_are_never_used_by_two_threads_at_once(env: WorkflowEnvironment) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                assert run(env, "shared") == 10
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_backslashes_hide_what_comes_after_them_in_mysql() -> None:
    for statement in (r"'it\'s ?' = ?", r'"say \"?\"" = ?'):
        assert bind(statement, [1], paramstyle="format", backslashes=True) == (statement[:-1] + "%s", (1,))


@pytest.mark.parametrize(
    "statement", ["/*" * 200_000, "'" + r"\'" * 100_001, '"' * 200_001, "`" * 200_001, "".join(f"$a{n}$ " for n in range(50_000)), "$$ $a$" * 100_001],
    ids=["notes", "escapes", "double", "back", "tags", "dollars"],
)  # fmt: skip
@pytest.mark.parametrize("backslashes", [False, True])
def test_a_statement_takes_time_by_its_length(statement: str, backslashes: bool) -> None:
    """What was opened and not closed was looked for again and again, and nothing else ran on the worker meanwhile."""
    begun = time.monotonic()
    bind(statement, [], paramstyle="format", backslashes=backslashes)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("statement", ["ATTACH '{}' AS other", "ATTACH '{}' || '' AS other", "VACUUM INTO '{}'"])
def test_code_is_kept_to_the_file_of_its_database(env: WorkflowEnvironment, tmp_path: Path, statement: str) -> None:
    """SQLite opens any file that it is told: with a database, code would have had the file system."""
    other = tmp_path / "other.sqlite"
    kind = "Invalid" if "VACUUM" in statement else "PermissionDenied"  # which may be in no transaction
    assert run(env, "query", statement.format(other))["kind"] == kind
    assert not other.exists()
    assert run(env, "query", "ATTACH ':memory:' AS other").get("kind") is None

# ruff: noqa: E501 - Lua sources read better on one line
"""The module ``store`` over tables of SQLite and PostgreSQL: ``store.sql``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml

from orchestration.errors import ApplicationError
from orchestration.modules import store as module
from orchestration.modules.caller import Caller
from orchestration.modules.sql_engines import engine_of, find_database
from orchestration.registry import load_registry
from orchestration.testing import WorkflowEnvironment
from tests.support.pages import Page
from tests.support.projects import Project
from tests.support.waiting import wait_until
from tests.web.postgres import postgres_server

ENTRIES, TABLE = map(Page("docs/reference/store.md").block, ("kind: store.sql", "CREATE TABLE"))
project = Project()
_database, _orders = yaml.safe_load(ENTRIES)
project.entry(**_database)
project.entry(**{**_orders, "database": "files"})
project.entry("files", "db.sql.sqlite", url_env="TEST_STORE_URL")
project.entry("kv", "store.sql", database="files", table_name="kv")
project.entry("named", "store.sql", database="files", table_name="order", id_column_name="select", payload_column_name="What It Is", expire_column_name="until")
project.entry("swept", "store.sql", database="files", table_name="swept", cleanup_interval="1ms")
project.entry("kept", "store.sql", database="files", table_name="kept")
project.entry("wrong", "store.sql", database="files", table_name="wrong")
project.entry("forbidden", "store.sql", database="files", table_name="nowhere.kv")
project.entry("memory", "db.sql.sqlite", file=":memory:")
project.entry("own", "store.sql", database="memory", table_name="kv")
project.entry("tokens", "security.token_store", store="kv")


def function(name: str, body: str) -> None:
    source = f"local store = require('store')\nreturn function(id, ...)\nlocal s = assert(store.get(id))\n{body}\nend"
    project.function(name, source, modules=("store", "security"))


function("values", """
    local found = {}
    for i, value in ipairs { 1, 1.5, -0.5, "text", "\\xff\\0", true, false, { 1, 2 }, { a = { b = {} } }, math.maxinteger } do
        assert(s:set("v" .. i, value))
        local got, problem = s:get("v" .. i)
        found[i] = { math.type(got) or type(got), got, problem == nil }
    end
    return found
""")
function("missing", """
    local value, problem = s:get("none")
    return { value == nil, problem:kind(), problem:retryable(), s:has("none"), s:delete("none") }
""")
function("deletes", "s:set('gone', 1) return { s:has('gone'), s:delete('gone'), s:has('gone'), s:delete('gone') }")
function("does", "local v, e = s[...](s, select(2, ...)) if e then return { e:kind(), e:message() } end return v")
function("info", "return s:info()")
function("token", """
    local security = require("security")
    local tokens = assert(security.token_store("app:tokens"))
    local scope = security.new_scope()
    local token = assert(tokens:create(security.new_actor("ann"), scope))
    local actor = assert(tokens:validate(token))
    return { actor:id(), tokens:revoke(token), (tokens:validate(token)) == nil }
""")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('data')}/data.db"
    else:
        with postgres_server() as folder:
            yield f"postgresql+psycopg://shop@/shop?host={folder}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.write(tmp_path_factory.mktemp("definitions"))


@pytest.fixture(scope="module")
def new_env(folder: Path, url: str) -> Iterator[Callable[[], WorkflowEnvironment]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_STORE_URL", url)
        patch.setenv("SHOP_DATABASE", url)
        yield lambda: WorkflowEnvironment(registry=load_registry(folder))


@pytest.fixture(scope="module")
def env(new_env: Callable[[], WorkflowEnvironment]) -> Iterator[WorkflowEnvironment]:
    with new_env() as env:
        yield env
        _engine(env).dispose()


def _engine(env: WorkflowEnvironment) -> sqlalchemy.Engine:
    runtime = env.client._runtime
    return engine_of(runtime, find_database(runtime, "app:files"))


def run(env: WorkflowEnvironment, target: str, store_id: str = "app:kv", *args: Any) -> Any:
    return env.client.call(f"app:{target}", store_id, *args, timeout=20)


def do(env: WorkflowEnvironment, verb: str, *args: Any, store_id: str = "app:kv") -> Any:
    return run(env, "does", store_id, verb, *args)


def test_values_keep_their_types_in_a_table(env: WorkflowEnvironment) -> None:
    assert run(env, "values") == [
        ["integer", 1, True], ["float", 1.5, True], ["float", -0.5, True], ["string", "text", True],
        ["string", b"\xff\0", True], ["boolean", True, True], ["boolean", False, True], ["table", [1, 2], True],
        ["table", {"a": {"b": []}}, True], ["integer", 2**63 - 1, True],
    ]  # fmt: skip


def test_what_is_not_in_a_table_and_what_is_deleted(env: WorkflowEnvironment) -> None:
    assert run(env, "missing") == [True, "NotFound", False, False, False]
    assert run(env, "deletes") == [True, True, False, False]


def test_a_table_and_its_columns_have_the_names_of_the_entry_and_are_made_when_they_are_not_there(
    env: WorkflowEnvironment,
) -> None:
    do(env, "set", "k", "v", 60, store_id="app:named")
    do(env, "set", "for ever", "v", store_id="app:named")
    columns = {column["name"]: column for column in sqlalchemy.inspect(_engine(env)).get_columns("order")}
    assert list(columns) == ["select", "What It Is", "until"]
    with _engine(env).connect() as connection:
        rows = dict(connection.exec_driver_sql('SELECT "select", until FROM "order"').all())
    assert rows["for ever"] is None
    assert rows["k"] > 1_700_000_000_000
    assert do(env, "get", "k", store_id="app:named") == "v"
    assert do(env, "has", "k") is False, "stores in other tables are apart"


def test_a_row_ends_after_its_time_by_the_clock_of_the_database(env: WorkflowEnvironment) -> None:
    do(env, "set", "short", 1, 0.2)
    do(env, "set", "long", 1, 60)
    wait_until(lambda: do(env, "has", "short") is False)
    assert do(env, "get", "short")[0] == "NotFound"
    assert do(env, "delete", "short") is False
    assert [item["key"] for item in do(env, "list", {"prefix": "short"})["items"]] == []
    assert do(env, "get", "long") == 1
    do(env, "set", "long", 2)
    with _engine(env).connect() as connection:
        assert connection.exec_driver_sql("SELECT expires_at FROM kv WHERE key = 'long'").scalar() is None


def test_only_one_of_those_who_put_only_if_absent_succeeds(env: WorkflowEnvironment) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(do(env, "put", "once", 1, {"only_if_absent": True, "ttl": 0.3})))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in found if answer == ["AlreadyExists", "the key is there"]]
    assert (len(found), len(refused)) == (4, 3), found
    wait_until(lambda: isinstance(do(env, "put", "once", 2, {"only_if_absent": True}), dict))
    assert do(env, "get", "once") == 2


def test_rows_have_no_versions(env: WorkflowEnvironment) -> None:
    assert do(env, "put", "plain", 1) == {"key": "plain", "value": 1, "version": 0}
    assert do(env, "entry", "plain") == {"key": "plain", "value": 1, "version": 0}
    kind, text = do(env, "put", "plain", 2, {"if_version": 1})
    assert (kind, "have no versions" in text) == ("Invalid", True)
    assert do(env, "get", "plain") == 1


def test_rows_are_listed_in_the_order_of_the_bytes_of_their_keys(env: WorkflowEnvironment) -> None:
    keys = ["p/b", "p/B", "p/a10", "p/a2", "p/ä", "p/\U0001f600", "p/%", "p_x", "q"]
    for key in keys:
        do(env, "set", key, key.upper())
    wanted = sorted((key for key in keys if key.startswith("p/")), key=str.encode)
    found: list[str] = []
    after = ""
    while True:
        page = do(env, "list", {"prefix": "p/", "after": after, "limit": 2})
        found += [item["key"] for item in page["items"]]
        assert all(item["value"] == item["key"].upper() for item in page["items"])
        if not page["has_more"]:
            break
        after = page["cursor"]
    assert found == wanted
    assert [item["key"] for item in do(env, "list", {"prefix": "p/\U0001f600"})["items"]] == ["p/\U0001f600"]
    assert do(env, "list", {"prefix": "zzz"}) == {"items": [], "has_more": False}


def test_a_page_of_rows_ends_before_it_is_too_large(env: WorkflowEnvironment) -> None:
    for key in ("s/1", "s/2", "s/3"):
        do(env, "set", key, "x" * 500_000)
    page = do(env, "list", {"prefix": "s/"})
    assert ([item["key"] for item in page["items"]], page["cursor"], page["has_more"]) == (["s/1", "s/2"], "s/2", True)
    page = do(env, "list", {"prefix": "s/", "after": "s/2"})
    assert ([item["key"] for item in page["items"]], page["has_more"]) == (["s/3"], False)


@pytest.mark.parametrize(("key", "text"), [(b"\xff", "text in UTF-8"), ("a\0b", "no zero byte"), ("", "key required")])
def test_keys_of_a_table_are_text(env: WorkflowEnvironment, key: str | bytes, text: str) -> None:
    for verb, args in (("set", (key, 1)), ("get", (key,)), ("delete", (key,))):
        kind, told = do(env, verb, *args)
        assert (kind, text in told) == ("Invalid", True), told


def test_what_has_ended_is_removed_once_in_the_interval(env: WorkflowEnvironment) -> None:
    def rows(table: str) -> int:
        with _engine(env).connect() as connection:
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())

    for store_id in ("app:swept", "app:kept"):
        do(env, "set", "stays", 1, store_id=store_id)
        do(env, "set", "ends", 1, 0.05, store_id=store_id)
        wait_until(lambda: do(env, "has", "ends", store_id=store_id) is False)  # noqa: B023
    wait_until(lambda: (do(env, "has", "stays", store_id="app:swept"), rows("swept")) == (True, 1))
    assert rows("kept") == 2, "without an interval it stays where nobody sees it"


def test_a_table_that_is_not_there_and_can_not_be_made_is_said(env: WorkflowEnvironment) -> None:
    kind, text = do(env, "set", "k", 1, store_id="app:forbidden")
    assert kind == "Unavailable"
    assert text.startswith("app:forbidden: the table nowhere.kv is not there, and cannot be made: ")


def test_a_table_may_be_made_as_the_page_says(env: WorkflowEnvironment) -> None:
    if _engine(env).dialect.name == "postgresql":
        with _engine(env).begin() as connection:
            connection.exec_driver_sql(TABLE)
    assert do(env, "set", "k", [1], 60, store_id="app:orders") is True
    assert do(env, "get", "k", store_id="app:orders") == [1]
    found = sqlalchemy.inspect(_engine(env))
    assert [column["name"] for column in found.get_columns("kept_orders")] == ["key", "value", "expires_at"]
    assert [index["column_names"] for index in found.get_indexes("kept_orders")] == [["expires_at"]]


def test_a_table_with_other_columns_is_refused_by_the_database(env: WorkflowEnvironment) -> None:
    with _engine(env).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE wrong (name TEXT)")
    kind, text = do(env, "set", "k", 1, store_id="app:wrong")
    assert kind == "Invalid"
    assert "expires_at" in text or "key" in text or "value" in text


def test_a_database_with_values_of_others_is_said(env: WorkflowEnvironment) -> None:
    do(env, "set", "other's", 1)
    with _engine(env).begin() as connection:
        connection.exec_driver_sql("UPDATE kv SET value = %s WHERE key = 'other''s'" % (
            "'text'" if connection.dialect.name == "sqlite" else "'\\xc1'"
        ))  # fmt: skip
    assert do(env, "get", "other's")[0] == "Internal"
    do(env, "delete", "other's")


def test_info_of_a_table(env: WorkflowEnvironment) -> None:
    facts = {"backend": "sql", "list": True, "versioned": False, "conditional_put": True, "ttl": True}
    assert run(env, "info") == {"id": "app:kv", "consistency": "linearizable", "durable": True, **facts}
    assert run(env, "info", "app:own") == {"id": "app:own", "consistency": "local", "durable": False, **facts}
    assert do(env, "set", "k", 1, store_id="app:own") is True


def test_workers_share_a_table_and_make_it_once(
    env: WorkflowEnvironment, new_env: Callable[[], WorkflowEnvironment]
) -> None:
    do(env, "set", "shared", {"a": 1})
    with new_env() as other:
        assert do(other, "get", "shared") == {"a": 1}
        _engine(other).dispose()


def test_tokens_may_be_kept_in_a_table(env: WorkflowEnvironment) -> None:
    assert run(env, "token") == ["ann", True, True]


def test_a_process_that_may_be_taken_for_dead_meanwhile_writes_nothing_into_a_table(env: WorkflowEnvironment) -> None:
    do(env, "set", "fenced", "before")
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) > 1:  # by the time of the commit it is late
            raise ApplicationError("this worker has been silent for too long", kind="Unavailable", retryable=True)

    caller = Caller(runtime=env.client._runtime, entry_id="app:f", pid="{a|b}", check=check)
    for write in (
        lambda: module._put(caller, "app:kv", "fenced", "after", None), lambda: module._delete(caller, "app:kv", "fenced"),
    ):  # fmt: skip
        asked.clear()
        with pytest.raises(ApplicationError, match="silent for too long"):
            write()
    assert do(env, "get", "fenced") == "before"


def test_a_server_that_is_away_is_unavailable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_STORE_URL", "postgresql+psycopg://shop@127.0.0.1:1/shop")
    with WorkflowEnvironment(registry=load_registry(folder)) as env:
        assert do(env, "get", "k")[0] == "Unavailable"

"""One way, at least, to call each command: what it shows, its exit code, and whether it needs the Redis.

A new command gets a case here, or the tests say that it has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from orchestration.cli.group import orchestration
from tests.support.terminal import Terminal
from tests.terminal.stage import Stage

__all__ = ["CASES", "SAMPLE", "Case", "Nowhere", "command_paths"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call of a command.

    Attributes:
        words: Makes the words of the call, and what they need: a run, a token.
        sees: Texts that are on the screen.
        codes: Exit codes; more than one where the machine decides.
        needs_redis: It ends with code 4 when Redis is away.
        has_data: What it prints is data as it stands, lines that are wider than the terminal among it.
        has_json: ``--json`` makes it print one object, at least, and nothing else.
        meanwhile: Done while it runs.
    """

    words: Callable[[Any], list[str]]
    sees: tuple[str, ...] = ()
    codes: tuple[int, ...] = (0,)
    needs_redis: bool = True
    has_data: bool = False
    has_json: bool = True
    meanwhile: Callable[[Terminal, Stage, list[str]], None] | None = None


class Nowhere:
    """Stands in for a stage where nothing is done: ids that are only said."""

    def __getattr__(self, name: str) -> Callable[..., str]:
        return lambda *_args: "order-7"


def command_paths(group: click.Group = orchestration, before: str = "") -> list[str]:
    """Every command that can be called, with the names of its groups."""
    paths = []
    for name, command in group.commands.items():
        if not isinstance(command, click.Group) or command.invoke_without_command:
            paths.append(f"{before}{name}")
        if isinstance(command, click.Group):
            paths += command_paths(command, f"{before}{name} ")
    return paths


def _follow(terminal: Terminal, stage: Stage, words: list[str]) -> None:
    if "--json" not in words:
        terminal.wait_for("listen:receive decision")
    stage.client.get_workflow(words[1]).signal("decision", "yes")


def _end_dev(terminal: Terminal, stage: Stage, words: list[str]) -> None:
    del stage, words
    terminal.wait_for(" ready.", deadline_s=60)
    terminal.press("C-c")


def _result_later(terminal: Terminal, stage: Stage, words: list[str]) -> None:
    del terminal
    stage.client.get_workflow(words[1]).signal("decision", "yes")


_NO_REDIS = {"needs_redis": False}

CASES: dict[str, list[Case]] = {
    "run": [
        Case(words=lambda s: ["run", "app:packing", "-i", '"x"', "-i", '"700ms"'], sees=('"parcel x"',)),
        Case(words=lambda s: ["run", "app:refused"], codes=(1,),
             sees=("error: workflow", "Declined: no such <account>")),
    ],
    "dev": [
        Case(words=lambda s: ["dev", "--no-flower", "--pool", "threads"], codes=(0,), has_data=True, has_json=False,
             sees=("redis | the one that is configured", "everything has ended"), meanwhile=_end_dev),
    ],
    "check": [
        Case(words=lambda s: ["check"], sees=("entry", "app:order", "no problems"), **_NO_REDIS),
        Case(words=lambda s: ["check", "--quiet", "--against-running"], sees=("on this code",)),
    ],
    "start": [Case(words=lambda s: ["start", "app:waiter"], sees=("started ", "says where it stands"))],
    "list": [
        Case(words=lambda s: ["list", "--all"],
             sees=("id ", "order-7", "completed", "reminder-1", "stuck-1", "parked")),
        Case(words=lambda s: ["list"], sees=("id ", "type", "status")),  # the latest fifty, of any number
        Case(words=lambda s: ["list", "--status", "parked"],
             sees=("stuck-1", "limit: the code wanted more than", "parked: ")),
        Case(words=lambda s: ["list", "--id-prefix", "nobody"], sees=("no run like that",), has_json=False),
    ],
    "count": [
        Case(words=lambda s: ["count", "--by", "status"], sees=("status", "runs", "running")),
        Case(words=lambda s: ["count"]),
    ],
    "show": [
        Case(words=lambda s: ["show", "order-7"], sees=("order-7", "completed", "result", "r-order-7", "35 events")),
        Case(words=lambda s: ["show", "family-1"],
             sees=("family.lua:5", "funcs.call app:down", "backoff",
                   "Unavailable: the warehouse is closed until tomorrow")),
        Case(words=lambda s: ["show", "stuck-1"], sees=("parked", "orchestration retry stuck-1")),
        Case(words=lambda s: ["show", s.new("waiter"), "--follow"], sees=("completed", '{"decision": "yes"}'),
             meanwhile=_follow),
        Case(words=lambda s: ["show", "refund-1", "--follow"], codes=(1,),
             sees=("failed", "error: workflow 'refund-1'")),
        Case(words=lambda s: ["show", "nobody"], codes=(3,), sees=("error: no workflow with the id 'nobody'",)),
    ],
    "timeline": [
        Case(words=lambda s: ["timeline", "order-7"],
             sees=("order-7", "completed", "3 tries", "12 × app:ship", "child app:packing", "█ activity", "╷0")),
        Case(words=lambda s: ["timeline", "order-7", "--all"], sees=("app:charge",)),
        Case(words=lambda s: ["timeline", "family-1"], sees=("▶", "try 2 backoff", "the warehouse is closed")),
        Case(words=lambda s: ["timeline", "refund-1"], sees=("✗", "failed", "Declined: no such <account>")),
    ],
    "graph": [
        Case(words=lambda s: ["graph", "order-7"], has_data=True, sees=("flowchart TD", "12 × app:ship", "s1 --> ")),
        Case(words=lambda s: ["graph", "refund-1", "--format", "svg"], has_data=True,
             sees=("<svg ", "no such &lt;account&gt;", "</svg>")),
    ],
    "history": [
        Case(words=lambda s: ["history", "order-7"],
             sees=("started", "schedule_activity", "child_ended", "complete")),
    ],
    "signal": [
        Case(words=lambda s: ["signal", s.new("waiter"), "decision", '"yes"'],
             sees=("decision is in the inbox of",)),
    ],
    "query": [
        Case(words=lambda s: ["query", s.new("counter"), "total"], sees=("0",)),
        Case(words=lambda s: ["query", s.new("counter")], sees=('"total"', '"add"')),
    ],
    "update": [Case(words=lambda s: ["update", s.new("counter"), "add", "5"], sees=("5",))],
    "result": [
        Case(words=lambda s: ["result", "order-7"], sees=('"receipt": "r-order-7"',)),
        Case(words=lambda s: ["result", s.new("waiter"), "--timeout", "20s"],
             sees=('"decision"',), meanwhile=_result_later),
        Case(words=lambda s: ["result", "reminder-1", "--timeout", "200ms"], codes=(5,),
             sees=("has not ended within 0.2 s",)),
    ],
    "cancel": [Case(words=lambda s: ["cancel", s.new("sleeper"), "--reason", "enough"], sees=("was asked to end",))],
    "terminate": [
        Case(words=lambda s: ["terminate", s.new("sleeper")], sees=("has been terminated",)),
        Case(words=lambda s: ["terminate", s.new("sleeper"), s.new("sleeper"), "order-7"], codes=(1,),
             sees=("has been terminated", "error: workflow 'order-7'", "3 runs, 1 of them not done")),
    ],
    "pause": [Case(words=lambda s: ["pause", s.new("sleeper"), "--note", "a word"], sees=("is paused",))],
    "resume": [Case(words=lambda s: ["resume", s.paused_run()], sees=("goes on",))],
    "retry": [
        Case(words=lambda s: ["retry", s.parked_run()], sees=("tries again",)),
        Case(words=lambda s: ["retry", "order-7"], codes=(6,), sees=("is not parked", "completed")),
    ],
    "upgrade": [Case(words=lambda s: ["upgrade", s.new("sleeper")], sees=("code",))],
    "reset": [
        Case(words=lambda s: ["reset", s.new("sleeper"), "--to", "start"], sees=("goes on as run",)),
        Case(words=lambda s: ["reset", "order-7", "--to", "last-activity", "--dry-run"],
             sees=("would go on from event",)),
    ],
    "fork": [
        Case(words=lambda s: ["fork", "order-7", "--from", "4"], sees=("order-7-fork-", "begins as run")),
        Case(words=lambda s: ["fork", "order-7", "--edit", '2="no"', "--dry-run"], sees=("events kept", "would")),
    ],
    "call": [
        Case(words=lambda s: ["call", "app:ship", '"x"'], sees=('"parcel x"',)),
        Case(words=lambda s: ["call", "app:refuse"], codes=(1,), sees=("Declined",)),
    ],
    "activity complete": [
        Case(words=lambda s: ["activity", "complete", s.token(), '{"ok": true}'], sees=("reported as completed",)),
    ],
    "activity fail": [
        Case(words=lambda s: ["activity", "fail", s.token(), "no", "--no-retry"], sees=("reported as failed",)),
        Case(words=lambda s: ["activity", "fail", "nonsense", "no"], codes=(2,), sees=("error: ",)),
    ],
    "schedule create": [
        Case(words=lambda s: ["schedule", "create", s.name(), "app:sleeper", "--cron", "0 3 * * *"],
             sees=("made ", "next ")),
    ],
    "schedule list": [
        Case(words=lambda s: ["schedule", "list"],
             sees=("nightly", "app:sleeper", "0 2 * * *", "active")),
    ],
    "schedule show": [Case(words=lambda s: ["schedule", "show", "nightly"], sees=("nightly", "Europe/Berlin", "next"))],
    "schedule pause": [Case(words=lambda s: ["schedule", "pause", s.schedule()], sees=("paused",))],
    "schedule resume": [Case(words=lambda s: ["schedule", "resume", s.schedule()], sees=("next ",))],
    "schedule trigger": [Case(words=lambda s: ["schedule", "trigger", s.schedule()], sees=("start",))],
    "schedule backfill": [
        Case(words=lambda s: ["schedule", "backfill", s.schedule(), "2026-01-01", "2026-01-02"],
             sees=("is started for every time from",)),
    ],
    "schedule update": [
        Case(words=lambda s: ["schedule", "update", s.schedule(), "--every", "2h"], sees=("changed ", "next ")),
    ],
    "schedule delete": [Case(words=lambda s: ["schedule", "delete", s.schedule()], sees=("schedule-",))],
    "services": [
        Case(words=lambda s: ["services"],
             sees=("app:mailer", "running", "app:faxer", "failed", "the post office has burned down")),
    ],
    "services start": [
        Case(words=lambda s: ["services", "start", "app:mailer", "--timeout", "20s"],
             sees=("app:mailer runs",)),
    ],
    "services stop": [
        Case(words=lambda s: ["services", "stop", "app:idle", "--timeout", "20s"],
             sees=("app:idle is stopped",)),
    ],
    "services restart": [Case(words=lambda s: ["services", "restart", "app:mailer"], sees=("is to start again",))],
    "services forget": [
        Case(words=lambda s: ["services", "forget", "app:mailer"], codes=(6,), sees=("a worker looks after it",)),
    ],
    "processes": [Case(words=lambda s: ["processes"], sees=("|0x", "app:mailer_body"))],
    "send": [
        Case(words=lambda s: ["send", s.process(), "letter", '"hello"'], sees=("letter is in the mailbox of",)),
        Case(words=lambda s: ["send", "nobody", "letter"], codes=(3,), sees=("error: ",)),
    ],
    "doctor": [Case(words=lambda s: ["doctor", "--timeout", "2s"], codes=(0, 1), sees=("checks: ",))],
    "audit": [
        Case(words=lambda s: ["audit", "reminder-1"], sees=("reminder-1", "moved by")),
        Case(words=lambda s: ["audit"], codes=(0, 1), sees=("open runs",)),
    ],
    "metrics": [
        Case(words=lambda s: ["metrics"], sees=("# TYPE orchestration_outbox_overdue_seconds gauge",), has_data=True),
    ],
    "completion": [
        Case(words=lambda s, shell=shell: ["completion", shell],
             sees=("_ORCHESTRATION_COMPLETE",), has_data=True, **_NO_REDIS)
        for shell in ("bash", "zsh", "fish")
    ],
}  # fmt: skip

SAMPLE = {
    "people": ("list", "show", "timeline", "services"), "programs": ("show",), "no redis": ("list",),
}  # fmt: skip
"""Commands whose first case is tried with every change, at 80 columns; the others with all tests."""

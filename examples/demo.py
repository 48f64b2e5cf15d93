"""``make demo``: the three examples on real Redis and real Celery workers, one of which is killed half way.

Everything is started here and ended here, also on Ctrl-C and on failure. With ``REDIS_URL`` that Redis is used and
left as it is, else one is started in a private folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rich.console import Console
from rich.live import Live

from examples.demo_view import final_report, run_table
from examples.demo_workers import DemoWorker
from examples.ledger import LEDGER_VARIABLE, Ledger
from orchestration.embedded import EmbeddedRedis
from orchestration.errors import WorkflowFailedError

__all__ = ["DemoRun", "main"]

ROOT: Final = Path(__file__).resolve().parents[1]
LONGEST_S: Final = 55.0
"""After this the demonstration gives up and says what is still open."""

WORK_MS: Final = 500
"""How long the outside world takes for one call."""

KILL_AFTER_CHARGES: Final = 3
REPLACE_AFTER_S: Final = 4.0
_OPEN: Final = frozenset({"running", "paused", "parked"})


@dataclass(slots=True)
class DemoRun:
    """One line of the table: a run and what was last seen of it."""

    id: str
    workflow: str
    input: dict[str, Any]
    expect: str
    answer: dict[str, Any] | None = None
    handle: Any = None
    status: str = "starting"
    step: str = ""
    waits_for: str = ""
    since_ms: int | None = None
    events: int = 0
    outcome: str = ""
    details: str = ""
    is_answered: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether it has yet to end."""
        return not self.outcome

    @property
    def is_as_expected(self) -> bool:
        """Whether it ended as the input file says."""
        return self.outcome == self.expect

    def look(self) -> None:
        """Read from the store where the run stands; when it has ended, its result."""
        if not self.is_open:
            return
        seen = self.handle.describe()
        self.status = str(getattr(seen.status, "value", seen.status)).lower()
        self.events = seen.history_length
        place = seen.places[0] if seen.places else None
        if place is not None:
            self.step = f"{Path(place.file).name}:{place.line}" + (f" {place.function}" if place.function else "")
            self.waits_for, self.since_ms = place.waits_for, place.since_ms
        if self.status not in _OPEN:
            self._take_result()

    def _take_result(self) -> None:
        self.step = self.waits_for = ""
        try:
            result = self.handle.result(timeout=5)
        except WorkflowFailedError as error:
            undone = (error.details or {}).get("undone")
            self.outcome = error.kind or self.status
            self.details = error.message + (f"; undone: {', '.join(undone)}" if undone else "")
        else:
            self.outcome = str(result["status"])
            wanted = ("total", "payment_id", "refund_id", "shipment_id", "reminders", "by")
            self.details = ", ".join(f"{name}={result[name]}" for name in wanted if result.get(name) is not None)


class Demo:
    """The demonstration. Make one, :meth:`run` it once.

    Args:
        console: Where it writes.
        folder: Scratch space for the ledger and the workers' logs.
        redis_url: Broker, result backend and store.
    """

    def __init__(self, *, console: Console, folder: Path, redis_url: str) -> None:
        self.console = console
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.environment = {
            **os.environ,
            "REDIS_URL": redis_url,
            LEDGER_VARIABLE: str(self.ledger.path),
            "ORCHESTRATION_EXAMPLES_WORK_MS": str(WORK_MS),
        }
        self.workers: list[DemoWorker] = []
        self.runs: list[DemoRun] = []
        self.killed_at_s: float | None = None
        self.is_replaced = False
        self.began = self.started_at = time.monotonic()

    def run(self) -> bool:
        """Run it to its end; returns whether everything came out as it should."""
        self._say("starting two workers ...")
        self._start_worker("worker-1", pool="prefork")
        self._start_worker("worker-2", pool="threads")
        for worker in self.workers:
            worker.wait_until_ready()
        self._start_runs()
        self._say(f"started {len(self.runs)} workflows; one worker will be killed half way")
        with self._live() as show:
            while any(run.is_open for run in self.runs) and self._elapsed_s() < LONGEST_S:
                self._look_and_act()
                show()
                time.sleep(0.2)
        return final_report(
            self.console,
            runs=self.runs,
            ledger=self.ledger,
            elapsed_s=self._elapsed_s(),
            is_killed=self.killed_at_s is not None,
        )

    def close(self) -> None:
        """Kill the workers that are left. Safe to repeat."""
        for worker in self.workers:
            worker.kill()

    def _start_worker(self, name: str, *, pool: str) -> None:
        self.workers.append(DemoWorker(name, pool=pool, cwd=ROOT, env=self.environment, folder=self.folder))

    def _start_runs(self) -> None:
        os.environ.update({name: self.environment[name] for name in ("REDIS_URL", LEDGER_VARIABLE)})
        from celery_app import app  # reads the environment when it is imported
        from orchestration import Client

        client = Client(app)
        marker = f"{int(time.time()):x}"  # a Redis that is kept may remember the runs of the last demonstration
        for given in json.loads((ROOT / "examples" / "orders.json").read_text("utf-8")):
            run = DemoRun(**given)
            run.handle = client.start_workflow(run.workflow, run.input, id=f"{run.id}-{marker}")
            self.runs.append(run)

    def _look_and_act(self) -> None:
        for run in self.runs:
            before = run.status
            run.look()
            if run.status != before and not self.console.is_terminal:
                self._say(f"{run.id}: {run.status}" + (f" ({run.outcome}: {run.details})" if run.outcome else ""))
            self._answer(run)
        self._kill_and_replace()

    def _answer(self, run: DemoRun) -> None:
        """Signal an approval when its time has come; the request must have been laid before us."""
        if run.answer is None or run.is_answered or time.monotonic() - self.started_at < run.answer["after_s"]:
            return
        if not self.ledger.effects(kind="request", subject=run.id):
            return
        run.handle.signal("decision", {"approved": run.answer["approved"], "by": run.answer["by"]})
        run.is_answered = True
        self._say(f"{run.answer['by']} says {'yes' if run.answer['approved'] else 'no'} to {run.id}")

    def _kill_and_replace(self) -> None:
        if self.killed_at_s is None:
            if len(self.ledger.effects(kind="charge")) >= KILL_AFTER_CHARGES:
                self.killed_at_s = self._elapsed_s()
                self._say("[bold red]SIGKILL to worker-1 and its children, in the middle of what they do[/]")
                self.workers[0].kill()
        elif not self.is_replaced and self._elapsed_s() - self.killed_at_s > REPLACE_AFTER_S:
            self.is_replaced = True
            self._say("starting worker-3 in its place")
            self._start_worker("worker-3", pool="prefork")

    def _elapsed_s(self) -> float:
        return time.monotonic() - self.began

    def _say(self, text: str) -> None:
        self.console.print(f"[dim]{self._elapsed_s():5.1f} s[/]  {text}", highlight=False)

    @contextlib.contextmanager
    def _live(self) -> Iterator[Any]:
        """Give a function that shows the table anew: in place on a terminal, not at all elsewhere."""
        self.started_at = time.monotonic()
        if not self.console.is_terminal:
            yield lambda: None
            return
        with Live(console=self.console, auto_refresh=False) as live:
            yield lambda: live.update(run_table(self.runs, self.workers, self._elapsed_s()), refresh=True)


def main() -> int:
    """Run the demonstration; returns the exit code."""
    console = Console()

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    folder = Path(tempfile.mkdtemp(prefix="orchestration-demo-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        redis_url = os.environ.get("REDIS_URL") or stack.enter_context(EmbeddedRedis(folder / "redis")).url
        demo = Demo(console=console, folder=folder, redis_url=redis_url)
        stack.callback(demo.close)
        try:
            is_good = demo.run()
        except KeyboardInterrupt:
            console.print("stopped; ending workers and Redis")
            return 130
        except Exception:
            console.print_exception()
            is_good = False
        if not is_good:
            for worker in demo.workers:
                console.print(f"[bold]end of the log of {worker.name}[/]\n{worker.log_tail()}", markup=False)
        return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())

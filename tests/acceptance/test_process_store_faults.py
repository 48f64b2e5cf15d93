# ruff: noqa: E501 - Lua sources read better on one line
"""Redis is away for longer than silence counts as death: processes wait, and go on with nothing lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from orchestration.embedded import EmbeddedRedis
from tests.support.actors import scenes
from tests.support.projects import deployed
from tests.support.waiting import wait_until

project, act = scenes(env={"ORCHESTRATION_HEARTBEAT_MS": "400", "ORCHESTRATION_NODE_DEAD_AFTER_MS": "2000"})
project.host("one")
project.host("two")

act.process("answers", """
    local inbox = process.inbox()
    while true do
        local msg = inbox:receive()
        process.send(msg:from(), "answer", msg:payload():data())
    end
""")
act.process("asks", """
    -- Asks one process on its own worker and one on the other, all the time, and counts.
    local pids = { process.spawn_monitored("app:answers", "app:one"), process.spawn_monitored("app:answers", "app:two") }
    local answers, inbox, events, tick = process.listen("answer"), process.inbox(), process.events(), time.ticker("20ms")
    local found = { asked = 0, answered = 0, refused = 0, events = 0 }
    while true do
        local picked = channel.select {
            answers:case_receive(), inbox:case_receive(), events:case_receive(), tick:channel():case_receive(),
        }
        if picked.channel == answers then
            found.answered = found.answered + 1
        elseif picked.channel == events then
            found.events = found.events + 1
        elseif picked.channel == inbox then
            if picked.value:payload():data() == "enough" then tick:stop() end
            process.send(picked.value:from(), "found", found)
        else
            for _, pid in ipairs(pids) do
                local count = process.send(pid, "ask", found.asked) and "asked" or "refused"
                found[count] = found[count] + 1
            end
        end
    end
""")
begin = act.function("begin", "return process.with_options({}):with_name('asks'):spawn('app:asks', 'app:one')")
look = act.function("look", """
    local found = process.listen("found")
    assert(process.send("asks", "how far", ...))
    return found:receive()
""")


def test_processes_survive_a_redis_that_was_away(second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    with deployed(project, tmp_path, second_redis.url_of(0)) as deployment:
        client = deployment.client
        workers = [
            deployment.worker(options=["--hosts", "app:one"], wait=False),
            deployment.worker(options=["--hosts", "app:two"], queues=["unused"], wait=False),
        ]
        for worker in workers:
            worker.wait_until_ready()
        client.call(begin, timeout=20)

        def counted(answered: int, then: str = "on") -> dict[str, int]:
            found: dict[str, int] = client.call(look, then, timeout=20)
            return found if found["answered"] > answered else {}

        before = wait_until(lambda: counted(0))
        assert second_redis.pid is not None
        os.kill(second_redis.pid, signal.SIGSTOP)
        time.sleep(4.5)  # more than twice the silence that counts as death
        os.kill(second_redis.pid, signal.SIGCONT)
        wait_until(lambda: counted(before["answered"] + 20), deadline_s=20)
        asked = counted(0, "enough")["asked"]
        found = wait_until(lambda: counted(asked - 1), deadline_s=20, message=lambda: str(counted(0)))
        assert (found["events"], found["refused"]) == (0, 0), "nobody has been taken for dead"
        assert found["asked"] == found["answered"] == asked, "and no answer was lost"

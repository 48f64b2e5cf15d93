"""Lua code of tests about processes: the frame in which their functions and processes are written.

::

    project, act = scenes()
    act.process("echo", "return ...")
    spawned = act.function("spawned", '''
        return said(process.spawn("app:echo", "app:host"))
    ''')
"""

from __future__ import annotations

from typing import Any

from tests.support.projects import ALL_MODULES, Project

__all__ = ["HOST", "Scenes", "scenes"]

HOST = "app:host"

FRAME = """
local time, errors, ctx, funcs = require("time"), require("errors"), require("ctx"), require("funcs")
-- told(err) -> "Kind retryable: message"
local function told(err) return err:kind() .. " " .. tostring(err:retryable()) .. ": " .. err:message() end
-- said(value, err) -> value, or what the error says
local function said(value, err)
    if err ~= nil then return told(err) end
    return value
end
-- raised(fn, ...) -> text of what fn raises, without the position
local function raised(fn, ...)
    local ok, problem = pcall(fn, ...)
    if ok then return "nothing" end
    return (string.gsub(type(problem) == "string" and problem or told(problem), "^[^%%s]+:%%d+: ", ""))
end
-- silent(channel, how_long) -> whether nothing comes in that time
local function silent(channel_, how_long)
    return channel.select { channel_:case_receive(), time.after(how_long or "80ms"):case_receive() }.channel ~= channel_
end
-- heard(event) -> { kind, value or what the error says }
local function heard(event) return { event.kind, said(event.result.value, event.result.error) } end
-- gone(pid): wait for the end of a process
local function gone(pid)
    if not process.monitor(pid) then return end
    local events = process.events()
    repeat until events:receive().from == pid
end
local function main(...)
%s
end
return main
"""


class Scenes:
    """Writes functions and processes of a project, whose code is the body of ``main(...)`` in the frame.

    Args:
        project: Theirs.
    """

    def __init__(self, project: Project) -> None:
        self._project = project

    def function(self, name: str, body: str, **fields: Any) -> str:
        """Add a ``function.lua``; returns its id."""
        return self._project.function(name, FRAME % body, modules=ALL_MODULES, **fields)

    def process(self, name: str, body: str, **fields: Any) -> str:
        """Add a ``process.lua``; returns its id."""
        return self._project.process(name, FRAME % body, modules=ALL_MODULES, **fields)


def scenes(**options: Any) -> tuple[Project, Scenes]:
    """A project with the process host ``app:host``, and what writes its code; options are those of the project."""
    project = Project(**options)
    project.host()
    return project, Scenes(project)

"""``orchestration result`` says why a wait may take for ever."""

from __future__ import annotations

import pytest

from orchestration.cli import patience
from orchestration.cli.application import Application
from orchestration.cli.patience import wait_for_result
from orchestration.cli.session import Session
from tests.support import wait_until
from tests.support.projects import Project

project = Project(env={"ORCHESTRATION_INSTRUCTIONS": "200000"})
asks = project.workflow(
    "asks",
    """
    local function main()
        return process.listen("answer"):receive()
    end
    return main
    """,
)
loops = project.workflow("loops", "return function() while true do end end")


@pytest.fixture
def application(running, monkeypatch):
    monkeypatch.setattr(patience, "_UNTOLD_S", 0.1)
    return Application("shop", running.app, Session(app="shop"))


def wait(application, handle, timeout_s=0.2, *, is_quiet=False):
    return wait_for_result(application, handle, timeout_s=timeout_s, is_quiet=is_quiet)


def test_a_run_that_goes_on_is_waited_for_in_silence(client, application, capsys):
    handle = client.start_workflow(asks)
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.2 s"):
        wait(application, handle)
    handle.signal("answer", 7)
    assert wait(application, handle, None) == 7
    assert capsys.readouterr().err == ""


def test_a_paused_run_is_told_once_and_waited_for_all_the_same(client, application, capsys):
    handle = client.start_workflow(asks)
    handle.pause("the bank is away")
    with pytest.raises(TimeoutError):
        wait(application, handle)
    told = capsys.readouterr().err
    assert told.count("note: ") == 1
    assert "is paused; `orchestration -A shop resume " in told
    with pytest.raises(TimeoutError):
        wait(application, handle, is_quiet=True)
    assert capsys.readouterr().err == ""
    handle.resume()
    handle.signal("answer", "yes")
    assert wait(application, handle, 10) == "yes"


def test_a_parked_run_is_told_with_its_cure(client, application, capsys):
    handle = client.start_workflow(loops)
    wait_until(lambda: handle.describe().status == "parked", message="it is parked")
    with pytest.raises(TimeoutError):
        wait(application, handle)
    told = capsys.readouterr().err
    assert "is parked, limit" in told
    assert "`orchestration -A shop retry " in told

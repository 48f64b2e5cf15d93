from __future__ import annotations

import click
import pytest
from kombu.exceptions import OperationalError

from orchestration import errors
from orchestration.cli.exits import CliError, Exit, exit_code_of, report


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CliError("x", Exit.TIMEOUT), 5),
        (errors.EntryNotFoundError("a:b"), 3),
        (errors.WorkflowNotFoundError("x"), 3),
        (errors.StoreUnavailableError("x"), 4),
        (OperationalError("x"), 4),
        (ConnectionRefusedError("x"), 4),
        (TimeoutError("x"), 5),
        (errors.WorkflowAlreadyStartedError("x", "y"), 6),
        (errors.WorkflowClosedError("x"), 6),
        (errors.QueryFailedError("x"), 1),
        (errors.UpdateFailedError("x"), 1),
        (errors.UpdateRejectedError("x"), 6),
        (errors.ConfigError("x"), 2),
        (errors.EncodeError("x"), 2),
        (errors.WorkflowFailedError("x"), 1),
        (errors.RegistryError("x"), 1),
        (click.UsageError("x"), 2),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("x"), 70),
    ],
)
def test_exit_codes(error: BaseException, code: int) -> None:
    assert exit_code_of(error) == code


def test_an_error_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(errors.WorkflowNotFoundError("no workflow 'x'")) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: no workflow 'x'; `orchestration list` shows those that are\n"


def test_a_traceback_is_for_those_who_ask(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as error:
        report(error)
        assert "Traceback" not in capsys.readouterr().err
        report(error, debug=True)
        assert "Traceback" in capsys.readouterr().err


def test_a_program_gets_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    report(errors.StoreUnavailableError("away"), as_json=True)
    assert '"exit_code": 4' in capsys.readouterr().err

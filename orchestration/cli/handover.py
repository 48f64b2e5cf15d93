"""``celery -A app workflow run`` and ``dev`` go on as the console script."""

from __future__ import annotations

import os
import sys

from orchestration.cli.application import load_application
from orchestration.cli.exits import CliError
from orchestration.cli.session import Session

__all__ = ["hand_over_from_celery"]


def hand_over_from_celery(session: Session) -> None:
    """Become the console script, if Celery has loaded the application.

    These commands decide by the environment which Redis the application is to use; an application that has been
    imported has decided already.

    Raises:
        CliError: The application cannot be imported by a name.
    """
    if session.loaded_app is None or session.app is not None:
        return
    name = load_application(session).name
    if not name:
        raise CliError("this application is in no module: name it with -A module:app after the command")
    at = next(
        number for number, word in enumerate(sys.argv)
        if word == "workflow" and sys.argv[number - 1] not in ("-A", "--app")
    )  # fmt: skip
    sys.stdout.flush()
    sys.stderr.flush()
    arguments = [sys.executable, "-m", "orchestration.cli", "-A", name, *sys.argv[at + 1 :]]
    os.execv(sys.executable, arguments)  # noqa: S606 - no shell is meant

"""Finds the Celery application that a command is about."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestration.cli.exits import CliError, Exit
from orchestration.cli.logs import configure_logging
from orchestration.cli.session import Session
from orchestration.errors import WorkflowNotFoundError

if TYPE_CHECKING:
    from orchestration.client import Client, WorkflowHandle
    from orchestration.tasks.app import Orchestration

__all__ = ["APP_VARIABLE", "BUILT", "Application", "app_name", "load_application", "prepare_environment"]

APP_VARIABLE: Final = "ORCHESTRATION_APP"
"""Names the application when ``-A`` does not."""

BUILT: Final = "orchestration.cli.env_app"
"""The application for folders that have none."""

_DEFAULT: Final = "celery_app"


@dataclass(frozen=True, slots=True)
class Application:
    """An application with workflows.

    Attributes:
        name: As ``celery -A`` takes it; empty when Celery has loaded it and it is in no module.
        app: The Celery application.
        session: The call that it was loaded for.
    """

    name: str
    app: Any
    session: Session

    @property
    def orchestration(self) -> Orchestration:
        """Its workflows."""
        found: Orchestration = self.app.orchestration
        return found

    def client(self, namespace: str | None = None) -> Client:
        """A client for a namespace; None: the session's, else the application's."""
        from orchestration.client import Client

        return Client(self.app, namespace=namespace or self.session.namespace)

    def namespaces(self) -> tuple[str, ...]:
        """Where workflows are looked for."""
        if self.session.namespace:
            return (self.session.namespace,)
        self.app.finalize()
        return self.orchestration.runtime.namespaces

    def find(self, workflow_id: str, run_id: str | None = None) -> WorkflowHandle:
        """Handle of a workflow that exists; with ``run_id`` of one of its runs.

        Raises:
            WorkflowNotFoundError: There is none in any namespace.
        """
        missing: WorkflowNotFoundError | None = None
        for namespace in self.namespaces():
            handle = self.client(namespace).get_workflow(workflow_id, run_id)
            try:
                handle.describe()
            except WorkflowNotFoundError as error:
                missing = error
            else:
                return handle
        assert missing is not None  # there is always a namespace
        raise missing

    def advice(self, words: str) -> str:
        """A command that a person may copy: it names the application where the command alone would not find it."""
        is_found = self.name in ("", BUILT) or self.name == app_name(Session())
        return f"orchestration {words}" if is_found else f"orchestration -A {self.name} {words}"

    def reach_store(self) -> None:
        """Talk to Redis once, so that its absence is said before anything else is tried.

        Raises:
            StoreUnavailableError: It does not answer within the patience.
        """
        self.client(self.namespaces()[0]).count_workflows()


def prepare_environment(session: Session) -> None:
    """Hand the options on to the application and to the processes that are started, as environment variables."""
    configure_logging(is_debug=session.debug)
    if session.config:
        missing = [path for path in session.config if not Path(path).exists()]
        if missing:
            raise CliError(f"--config {missing[0]}: there is no such file or folder")
        os.environ["ORCHESTRATION_CONFIG"] = os.pathsep.join(session.config)
    if session.wait is not None:
        os.environ["ORCHESTRATION_START_TIMEOUT_MS"] = str(int(session.wait * 1000))


def app_name(session: Session) -> str | None:
    """Name of the application; None when nothing names one and this folder has none."""
    named = session.app or os.environ.get(APP_VARIABLE)
    if named:
        return named
    here = Path.cwd()
    is_here = (here / f"{_DEFAULT}.py").is_file() or (here / _DEFAULT / "__init__.py").is_file()
    return _DEFAULT if is_here else None


def load_application(session: Session, *, may_build: bool = False) -> Application:
    """Load the application of a session.

    Args:
        session: The call.
        may_build: Make one of the environment when there is none.

    Raises:
        CliError: There is none, it cannot be imported, or it has no workflows.
    """
    prepare_environment(session)
    if session.loaded_app is not None and session.app is None:
        return _checked(Application(_name_of(session.loaded_app), session.loaded_app, session))
    name = app_name(session)
    if name is None:
        if not may_build:
            raise CliError(
                f"there is no application: name one with -A (as for `celery -A`) or {APP_VARIABLE}, "
                f"or go to the folder that has {_DEFAULT}.py"
            )
        name = BUILT
    return _checked(Application(name, _import(name), session))


def _import(name: str) -> Any:
    from celery.app.utils import find_app

    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module = name.partition(":")[0]
    try:
        return find_app(name)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise CliError(f"-A {name}: no module {error.name!r} can be imported from {Path.cwd()}") from error
        raise CliError(_import_failure(name, error)) from error
    except AttributeError as error:
        if _is_own(error):
            raise CliError(f"-A {name}: it has no Celery application ({error}); name it, as in module:app") from error
        raise CliError(_import_failure(name, error)) from error
    except Exception as error:
        raise CliError(_import_failure(name, error)) from error


def _is_own(error: AttributeError) -> bool:
    """Whether the application was looked for in vain; else its own code has failed."""
    frames = traceback.extract_tb(error.__traceback__)
    return not frames or "celery" in Path(frames[-1].filename).parts or "kombu" in Path(frames[-1].filename).parts


def _import_failure(name: str, error: BaseException) -> str:
    """One line with the place in the user's own file where importing has failed."""
    place = ""
    if isinstance(error, SyntaxError):
        return f"-A {name}: {error.filename}:{error.lineno}: {error.msg}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_file() and not {"site-packages", "importlib"} & set(Path(frame.filename).parts):
            place = f"{frame.filename}:{frame.lineno}: "
            break
    return f"-A {name}: importing it failed: {place}{type(error).__name__}: {error}"


def _checked(application: Application) -> Application:
    from celery import Celery

    app = application.app
    shown = application.name or "this Celery application"
    if not isinstance(app, Celery):
        raise CliError(f"-A {shown}: it is a {type(app).__name__}, not a Celery application; name it, as in module:app")
    if getattr(app, "orchestration", None) is None:
        raise CliError(
            f"{shown} has no workflows: add `Orchestration(app, config=\"config\")` where the application is made "
            "(from orchestration import Orchestration)",
            Exit.USAGE,
        )
    return application


def _name_of(app: Any) -> str:
    """The name under which another process can load an application that Celery has loaded here."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("celery", "kombu", "orchestration"):
            continue
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is app and name != "__main__":
                return f"{name}:{attribute}"
    return ""

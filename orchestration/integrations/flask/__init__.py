"""Flask: workflows as an extension, with ``init_app``, commands, and ``current_app`` in the code of definitions.

See ``docs/how-to/flask.md``.
"""

from __future__ import annotations

from orchestration.integrations.flask.extension import FlaskOrchestration, Workflows

__all__ = ["FlaskOrchestration", "Workflows"]

"""``--where`` on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from orchestration.client import Condition

__all__ = ["WHERE"]


class _Where(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click alone
    """Conditions combined by ``and``; what is wrong is said with the column."""

    name = "where"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Condition]:
        """Read and check them."""
        from orchestration.store.query import make_query
        from orchestration.store.where import parse_where

        try:
            conditions = parse_where(value)
            make_query(conditions)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return conditions


WHERE: Final = _Where()

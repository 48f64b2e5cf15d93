"""Where a run stands in its trace. Ids of spans are derived, so any process can tell them, now or in a month."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["RunTrace", "derived_trace_id", "parse_traceparent"]

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def derived_trace_id(run_id: str) -> int:
    """Trace id of a run that nobody's trace has started."""
    return int.from_bytes(hashlib.blake2b(run_id.encode(), digest_size=16, person=b"trace").digest(), "big")


def parse_traceparent(text: str) -> tuple[int, int, bool] | None:
    """Trace id, span id and whether it is sampled; None when the text is no ``traceparent`` of version 00."""
    found = _TRACEPARENT.fullmatch(text)
    if found is None or not int(found[1], 16):
        return None
    return int(found[1], 16), int(found[2], 16), bool(int(found[3], 16) & 1)


@dataclass(frozen=True, slots=True)
class RunTrace:
    """The trace of a run.

    Attributes:
        run_id: The run.
        trace_id: Of the trace.
        parent_id: The span that the run's own is below; 0: none.
        sampled: Whether its spans are wanted.

    Source: the form of :meth:`write` is that of W3C Trace Context, with zeros where there is no parent.
    """

    run_id: str
    trace_id: int
    parent_id: int
    sampled: bool

    @classmethod
    def read(cls, run_id: str, text: str) -> RunTrace | None:
        """The trace that a run's record names; None when it names none."""
        found = parse_traceparent(text)
        return None if found is None else cls(run_id, *found)

    def write(self) -> str:
        """As a run's record has it: what the run is below."""
        return self.traceparent(self.parent_id)

    @property
    def root(self) -> int:
        """Id of the run's own span."""
        return self.span("run")

    def span(self, *what: object) -> int:
        """Id of a span of the run: the same for the same words."""
        named = "/".join([self.run_id, *map(str, what)]).encode()
        return int.from_bytes(hashlib.blake2b(named, digest_size=8, person=b"span").digest(), "big")

    def traceparent(self, span_id: int) -> str:
        """A span of this trace, as a header names it."""
        return f"00-{self.trace_id:032x}-{span_id:016x}-{int(self.sampled):02x}"

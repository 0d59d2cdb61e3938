"""Which request or saga the running code works for; carried in rows, messages and log lines."""

import contextlib
import re
import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final

_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$")


SYSTEM: Final = "system"
"""Who carries out what nobody has asked for just now: steps, handlers of events, ticks."""
VISITOR: Final = "visitor"
"""Who sends a request and has not said who it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Correlation:
    """Where the current work comes from."""

    correlation_id: str
    """The same from the click to the last event."""
    causation_id: str | None = None
    """The id of the event, saga or request that caused this one."""
    traceparent: str | None = None
    """W3C trace context."""
    actor: str = SYSTEM
    """Who does it, like ``customer:<id>`` or ``operator:<name>``. Not handed on: a saga's steps and
    the handlers of an event work under a correlation of their own, and are the system's."""

    @property
    def trace_id(self) -> str | None:
        """Return the trace id inside the trace context."""
        match = _TRACEPARENT.match(self.traceparent or "")
        return match.group(1) if match else None


_current: ContextVar[Correlation | None] = ContextVar("correlation", default=None)


def current() -> Correlation | None:
    """Return the correlation of the running code, if it has one."""
    return _current.get()


def current_or_new() -> Correlation:
    """Return the correlation of the running code, or a fresh one."""
    return _current.get() or begin()


def begin(traceparent: str | None = None, correlation_id: str | None = None) -> Correlation:
    """Return a fresh correlation, going on from a caller's trace context when it is well formed."""
    if not _TRACEPARENT.match(traceparent or ""):
        traceparent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    return Correlation(
        correlation_id=correlation_id or secrets.token_hex(16), traceparent=traceparent
    )


def acting(actor: str) -> contextlib.AbstractContextManager[None]:
    """Let what is told inside the block say who did it."""
    return correlated(replace(current_or_new(), actor=actor))


@contextlib.contextmanager
def correlated(correlation: Correlation) -> Iterator[None]:
    """Let everything inside the block work under this correlation."""
    token = _current.set(correlation)
    try:
        yield
    finally:
        _current.reset(token)

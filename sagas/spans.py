"""Where work begins and ends, for whoever draws traces; nothing is done and imported unless asked.

A project that wants spans calls ``use`` once. What the engine then opens has the trace context of
the running code as its parent, as it stands in the row: the cause, and not the message that
happened to bring the work. A message is linked.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

Fact = str | int | bool
Opener = Callable[[str, str, Iterable[str | None], dict[str, Fact]], AbstractContextManager[None]]

_NOTHING: AbstractContextManager[None] = nullcontext()
_opener: Opener | None = None


def use(opener: Opener | None) -> None:
    """Open spans with this function from now on; None opens none.

    It is given the name, the kind (``internal``, ``server``, ``client``, ``producer`` or
    ``consumer``), the trace contexts to link, and facts.
    """
    global _opener  # noqa: PLW0603 - one for the process, set when it begins
    _opener = opener


def span(
    name: str, kind: str = "internal", links: Iterable[str | None] = (), **facts: Fact
) -> AbstractContextManager[None]:
    """Return a block that is a span, if anybody wants spans."""
    return _NOTHING if _opener is None else _opener(name, kind, links, facts)

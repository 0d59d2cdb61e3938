"""What else needs a human: counts that the contexts add to the dashboard."""

from collections.abc import Callable
from dataclasses import dataclass

from sagas.transactions import ENGINE


@dataclass(frozen=True, kw_only=True, slots=True)
class Concern:
    """One kind of thing that waits for a person."""

    one: str
    many: str
    count: Callable[[], int]
    url: Callable[[], str]
    permission: str
    context: str
    """In whose database it is counted."""


CONCERNS: list[Concern] = []


def concern(
    one: str,
    many: str,
    *,
    count: Callable[[], int],
    url: Callable[[], str],
    permission: str,
    context: str = ENGINE,
) -> None:
    """Put a count on the dashboard; one query, for those who may see the list."""
    CONCERNS.append(
        Concern(one=one, many=many, count=count, url=url, permission=permission, context=context)
    )

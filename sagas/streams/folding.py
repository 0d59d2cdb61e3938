"""Folding a stream: from what was told of an aggregate to what its row has to say."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from sagas import error_texts
from sagas.core.errors import SagasError
from sagas.core.events import Event
from sagas.models.contextual import Aggregate, type_of
from sagas.streams.known import read_as_newest
from sagas.streams.reading import StoredEvent


class CannotFold(SagasError):
    """An event of the stream cannot be folded."""


Facts = Mapping[str, Any]
"""Columns of the aggregate's row, as far as events tell of them."""
Step = Callable[[Facts, Event], Facts]
Besides = Callable[[UUID, datetime | None], Facts]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """How the events of one kind of aggregate come to facts."""

    aggregate: type[Aggregate]
    step: Step
    untold: Q | None
    """Rows of which nothing needs to have been told."""
    besides: Besides | None
    """What else is known of an aggregate at an instant, from journals of the context."""


FOLDS: dict[str, Fold] = {}


def folds(
    aggregate: type[Aggregate], *, untold: Q | None = None, besides: Besides | None = None
) -> Callable[[Step], Step]:
    """Register how the facts of an aggregate change with each of its events.

    The function gets the facts so far and one event in its newest version, and returns the facts
    after it. Each is named like the column that it stands in; what no event tells is left out.

    :param untold: rows of which nothing needs to have been told; whose counter of events says that
        something was is held against its stream all the same
    :param besides: what a page shows of a past instant beside the fold
    """

    def register(step: Step) -> Step:
        FOLDS[type_of(aggregate)] = Fold(
            aggregate=aggregate, step=step, untold=untold, besides=besides
        )
        return step

    return register


def fold(found: Fold, events: Iterable[StoredEvent]) -> Facts:
    """Return what follows from the events of one stream.

    :raises SagasError: if an event cannot be read in its newest version, or an upcaster or the fold
        itself fails at it
    """
    facts: Facts = {}
    for event in events:
        try:
            facts = found.step(facts, read_as_newest(event.name, event.version, event.payload))
        except SagasError:
            raise
        except Exception as wrong:  # whatever a payload or somebody's upcaster leads to
            raise CannotFold(f"event {event.number}: {error_texts.text_of(wrong)}") from wrong
    return facts

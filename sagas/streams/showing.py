"""One stream as it stands, or as it stood: for a terminal and a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sagas.contexts import contexts
from sagas.core.commands import context_of
from sagas.streams.folding import FOLDS, fold
from sagas.streams.journal import SAGA, saga_at
from sagas.streams.reading import NoStream, StoredEvent, parse, read, snapshot, until
from sagas.transactions import ENGINE

NOT_FOLDED = "nothing says what its events come to: its aggregate has no fold"


class NothingTold(NoStream):
    """Nothing was ever told of this stream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What is known of one aggregate, or saga, at an instant."""

    stream: str
    as_of: datetime | None
    events: tuple[StoredEvent, ...]
    state: Mapping[str, Any] | None
    """None where it was not there yet, or has events and no fold."""


def show(stream: str, as_of: datetime | None = None) -> Shown:
    """Return a stream with what it comes to, now or at an instant.

    :raises NoStream: if this names none
    :raises NothingTold: if nothing was ever told of it
    :raises NoSuchSaga: if it names a saga that there is not
    """
    kind, key = parse(stream)
    if kind == SAGA:
        with snapshot(ENGINE):
            return Shown(stream=stream, as_of=as_of, events=(), state=saga_at(key, as_of))
    if context_of(kind) not in contexts():
        raise NoStream
    with snapshot(context_of(kind)):
        return _shown(kind, key, as_of)


def _shown(kind: str, key: UUID, as_of: datetime | None) -> Shown:
    every = read(kind, [key])[key]
    if not every:
        raise NothingTold
    events, found, state = until(every, as_of), FOLDS.get(kind), None
    if events and found is not None:
        besides = {} if found.besides is None else found.besides(key, as_of)
        state = {**fold(found, events), **besides}
    return Shown(stream=f"{kind}:{key}", as_of=as_of, events=tuple(events), state=state)

"""How long after its commit an event is in the stream, and has been applied by who listens."""

import threading
import time
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.apps import apps

from config.bench import news
from config.bench.draining import STREAM, chosen
from config.bench.outcome import PATIENCE, Wrong
from config.bench.reader import Reader
from config.bench.sides import Sides
from sagas.api import publish, transaction
from sagas.transactions import after_commit

TELLERS: Final = 50


def commit_to_applied(
    sides: Sides, *, events: int, rate: float, waiting: int = 0
) -> dict[str, list[float]]:
    """Publish single events at a steady rate and return the milliseconds until each was there.

    :param waiting: as many events of other aggregates wait already
    :raises Wrong: if an event is not applied, or twice, or if the others do not wait any more
    """
    news.forget()
    tellers = _tellers()
    reader = Reader(STREAM)
    reader.start()
    try:
        if waiting:
            news.fill(waiting, type_=news.Told.name, aggregates=waiting)
        with chosen(stream=True):
            committed = _tell(tellers, events, rate)
        applied = _await(sides, committed)
    finally:
        reader.close()
    if waiting and len(applied) >= events + waiting:
        raise Wrong("the waiting events were applied before the others: let more of them wait")
    return {
        "streamed": _between(committed, reader.seen),
        "applied": _between(committed, applied),
    }


def _tellers() -> list[Any]:
    customers: Any = apps.get_model(news.PRODUCER, "Customer").objects
    with transaction(news.PRODUCER):
        return [
            customers.create(email=f"bench-{number}@example.test", name="Bench")
            for number in range(TELLERS)
        ]


def _tell(tellers: Sequence[Any], events: int, rate: float) -> dict[UUID, float]:
    committed: dict[UUID, float] = {}
    began = time.monotonic()
    for number in range(events):
        threading.Event().wait(max(0.0, began + number / rate - time.monotonic()))
        at: list[float] = []
        with transaction(news.PRODUCER):
            # The first to be called, before the bell is rung.
            after_commit(lambda at=at: at.append(time.time()))  # type: ignore[misc]
            event_id = publish(news.Told(text="x" * 60), aggregate=tellers[number % TELLERS])
        committed[event_id] = at[0]
    return committed


def _await(sides: Sides, committed: dict[UUID, float]) -> dict[UUID, float]:
    deadline = time.monotonic() + PATIENCE
    while not committed.keys() <= (heard := news.heard()).keys():
        if time.monotonic() > deadline:
            died, missing = sides.ended(), len(committed.keys() - heard.keys())
            raise Wrong(died or f"{missing} of {len(committed)} events were not applied")
        threading.Event().wait(0.1)
    if news.heard_twice():
        raise Wrong("an event was applied twice")
    return heard


def _between(committed: dict[UUID, float], there: dict[UUID, float]) -> list[float]:
    return [1000 * (there[id_] - at) for id_, at in committed.items() if id_ in there]

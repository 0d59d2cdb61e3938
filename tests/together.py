"""Doing things at the same moment, each with a connection of its own."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections

PATIENCE = 30


def together(*actions: Callable[[], Any], connected: bool = True) -> list[Any]:
    """Begin all actions at once and return what each returned, or the exception it raised.

    Each has its connection before they begin, since who connects faster is not the race.
    """
    gate = threading.Barrier(len(actions))
    outcomes: list[Any] = [None] * len(actions)

    def run(number: int, action: Callable[[], Any]) -> None:
        try:
            if connected:
                connection.ensure_connection()
            gate.wait(PATIENCE)
            outcomes[number] = action()
        except Exception as raised:  # noqa: BLE001 - the test looks at it
            outcomes[number] = raised
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=run, args=numbered, daemon=True) for numbered in enumerate(actions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"
    return outcomes


def raised(outcomes: Sequence[Any]) -> list[Exception]:
    """Return the exceptions among the outcomes."""
    return [outcome for outcome in outcomes if isinstance(outcome, Exception)]


@contextmanager
def going_on(*acts: Callable[[], Any]) -> Iterator[None]:
    """Do these again and again, each in a thread of its own, until the block ends."""
    over = threading.Event()
    failures: list[Exception] = []

    def run(act: Callable[[], Any]) -> None:
        try:
            while not over.is_set():
                act()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(act,), daemon=True) for act in acts]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert failures == []

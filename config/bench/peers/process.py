"""A process of one of the other libraries, with the smallest Django project around it.

``python -m config.bench.peers.process LIBRARY drain|relay|tell …`` runs in the environment of
``config/requirements-bench.txt``; nothing of the project's settings is read there. The
database comes on the standard input. What was found goes to the standard output as JSON.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

import django
from django.conf import settings

from config.bench.peers import transport
from sagas.ids import uuid7

TEXT: Final = "x" * 60
PAGE: Final = 500
OUTBOX_PATTERN: Final = "django-outbox-pattern"
JAIMINHO: Final = "django-jaiminho"
APPS: Final = {OUTBOX_PATTERN: "django_outbox_pattern", JAIMINHO: "jaiminho"}
TABLES: Final = {OUTBOX_PATTERN: "published", JAIMINHO: "jaiminho_event"}


def begin(library: str) -> None:
    """Set up Django with this library and its tables."""
    settings.configure(
        SECRET_KEY="benchmark",  # noqa: S106 - protects nothing
        USE_TZ=True,
        INSTALLED_APPS=[APPS[library]],
        DATABASES={"default": json.load(sys.stdin)},
        DJANGO_OUTBOX_PATTERN={
            "DEFAULT_CONNECTION_CLASS": "config.bench.peers.transport.Connection"
        },
        # In the order of the events, which is what ours promises.
        JAIMINHO_CONFIG={"PUBLISH_STRATEGY": "keep-order"},
    )
    django.setup()


def lay_out() -> None:
    """Make the library's tables."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)


def tell(library: str, count: int, rate: float) -> dict[str, float]:
    """Commit single events at a steady rate; return when each was committed."""
    from django.db import transaction

    save = _saver(library)
    committed = {}
    began = time.monotonic()
    for number in range(count):
        threading.Event().wait(max(0.0, began + number / rate - time.monotonic()))
        event_id = str(uuid7())
        with transaction.atomic():  # noqa: TID251 - no context of ours is near
            save(event_id)
        committed[event_id] = time.time()
    return committed


def _saver(library: str) -> Callable[[str], object]:
    if library == JAIMINHO:
        save: Callable[..., object] = import_module("jaiminho.send").save_to_outbox(
            transport.append
        )
        return lambda event_id: save(event_id, TEXT)
    rows = import_module("django_outbox_pattern.models").Published.objects
    return lambda event_id: rows.create(destination="bench", body={"id": event_id, "text": TEXT})


def fill(library: str, count: int) -> None:
    """Commit events that wait, by the library's own way of writing them."""
    from django.db import transaction

    save = _saver(library)
    for start in range(0, count, PAGE):
        with transaction.atomic():  # noqa: TID251 - no context of ours is near
            for _ in range(min(PAGE, count - start)):
                save(str(uuid7()))


def drain(library: str) -> dict[str, float]:
    """Publish all that waits; return the seconds and the CPU seconds that it took."""
    once = _relay(library, pause=0)
    began, cpu = time.monotonic(), time.process_time()
    once()
    return {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}


def relay(library: str) -> None:
    """Publish without end, as the library's own command does, with its pause of a second."""
    once = _relay(library, pause=1)
    while True:
        once()
        if library == JAIMINHO:
            threading.Event().wait(1)


def _relay(library: str, *, pause: int) -> Callable[[], object]:
    if library == JAIMINHO:
        relayer: Callable[[], object] = import_module("jaiminho.relayer").EventRelayer().relay
        return relayer
    own: Any = import_module("django_outbox_pattern.settings")
    own.DEFAULT_PRODUCER_WAITING_TIME = pause
    producer: Any = import_module("django_outbox_pattern.factories").factory_producer()
    publish: Callable[[], object] = producer.publish_message_from_database
    return publish


def unpublished(library: str) -> int:
    """Return how many events the library has not marked."""
    from django.db import connection

    where = "sent_at IS NULL" if library == JAIMINHO else "status = 1"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {TABLES[library]} WHERE {where}")  # noqa: S608 - constants
        return int(cursor.fetchone()[0])


def main(library: str, what: str, *numbers: str) -> Any:
    """Do one thing with one library."""
    begin(library)
    if what == "relay":
        relay(library)
    if what == "tell":
        return tell(library, int(numbers[0]), float(numbers[1]))
    lay_out()
    fill(library, int(numbers[0]))
    return {**drain(library), "left": unpublished(library)}


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)

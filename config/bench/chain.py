"""The other side: a bare Celery application whose chain makes the same four writes.

It is kept as cheap as Celery lets it be without being odd: default acknowledgment and prefetch,
no result backend, one autocommitted statement a task, connections kept between tasks, no beat.
What it does not have is durability: a message that is lost is a saga that never ends.
"""

from typing import Final
from uuid import UUID

from celery import Celery, chain
from celery.signals import task_prerun
from django.conf import settings

from config.bench.effects import LAST, write
from config.celery import drop_dead_connections

QUEUE: Final = "bench"

# Not the current application: in the driver's process that stays the project's own.
app = Celery("bench", set_as_current=False)
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
    broker_connection_retry_on_startup=True,
    task_default_queue=QUEUE,
    task_ignore_result=True,
    CELERY_DB_REUSE_MAX=settings.CELERY_DB_REUSE_MAX,
)
# The project's check of its connections before every task is no part of a bare chain.
task_prerun.disconnect(drop_dead_connections)


class Refused(Exception):
    """The fourth write is refused."""


@app.task(name="bench.write", throws=(Refused,))
def write_step(saga_id: str, step: int, orm: bool, rejected: bool) -> None:  # noqa: FBT001 - a message's positional payload
    """Make one write, or refuse it."""
    if rejected:
        raise Refused
    write(step, UUID(saga_id), 1, orm=orm)


@app.task(name="bench.undo")
def undo_step(saga_id: str, step: int, orm: bool) -> None:  # noqa: FBT001 - a message's positional payload
    """Take one write back."""
    write(step, UUID(saga_id), -1, orm=orm)


@app.task(name="bench.unwind")
def unwind(saga_id: str, orm: bool) -> None:  # noqa: FBT001 - a message's positional payload
    """Send the chain of compensations; the `link_error` of every forward chain."""
    chain(*(undo_step.si(saga_id, step, orm) for step in reversed(range(LAST)))).apply_async()


def start_chain(saga_id: UUID, *, orm: bool, rejected: bool) -> None:
    """Publish the chain of one saga."""
    links = [
        write_step.si(str(saga_id), step, orm, rejected and step == LAST)
        for step in range(LAST + 1)
    ]
    chain(*links).on_error(unwind.si(str(saga_id), orm)).apply_async()

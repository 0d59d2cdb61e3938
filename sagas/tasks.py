"""Every Celery task of the engine: a few lines each that call inward.

Task names are strings for ever: messages of an older release must find them.
"""

import sys
from typing import Any
from uuid import UUID

from celery import Task, current_app, shared_task
from celery.exceptions import Ignore

from sagas.arguments import EngineTask
from sagas.choreography import watchdog
from sagas.conf import conf
from sagas.core.keys import Direction
from sagas.orchestration.batch import run_batch
from sagas.orchestration.branches import run_branch as carry_out_branch
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link as run_alone
from sagas.orchestration.steps import StepRejected
from sagas.orchestration.sweep import continue_saga as read_and_send
from sagas.orchestration.sweep import sweep as look_for_due_sagas
from sagas.outbox import (
    bell,
    catching_up,
    dead_letters,
    delivery,
    exchange,
    outside,
    pruning,
    relay,
    republish,
    slots,
    streaming,
)
from sagas.outbox.apart import Apart
from sagas.projections import lag
from sagas.spans import span


class _KeptUnlessRejected:
    """Says of a task whether its error is kept as a result, at the moment Celery asks."""

    def __get__(self, task: Task[Any, Any] | None, owner: type[Task[Any, Any]]) -> bool:
        """Keep what went wrong for operators, but no business no: the journal has that.

        Celery asks while it handles the exception, and its time limits ask outside of one.
        """
        if isinstance(sys.exc_info()[1], StepRejected):
            return False
        return bool(current_app.conf.task_store_errors_even_if_ignored)


class Link(EngineTask):
    """A task that carries out steps; a rejection is an outcome of it and no failure."""

    store_errors_even_if_ignored: Any = _KeptUnlessRejected()


_LINK: dict[str, Any] = {
    "base": Link,
    "throws": (StepRejected,),
    "soft_time_limit": conf.STEP_TIMEOUT,
    "time_limit": conf.HARD_LIMIT,
}


def _end(end: LinkEnd) -> None:
    if end is LinkEnd.STOPPED:
        raise Ignore
    if end is LinkEnd.REJECTED:
        raise StepRejected


def _carry_out(link: tuple[UUID, int, int, Direction], *, swept: bool, of: str) -> LinkEnd:
    return run_batch(*link, swept=swept, of=of) if of else run_alone(*link, swept=swept)


@shared_task(name="sagas.run_link", **_LINK)
def run_link(saga_id: str, low: int, high: int, swept: bool, of: str = "") -> None:  # noqa: FBT001 - a message's positional payload
    """Run the steps ``low`` to ``high`` of a saga forward, and of others ``of`` its definition."""
    _end(_carry_out((UUID(saga_id), low, high, Direction.DO), swept=swept, of=of))


@shared_task(name="sagas.undo_link", **_LINK)
def undo_link(saga_id: str, low: int, high: int, swept: bool, of: str = "") -> None:  # noqa: FBT001 - a message's positional payload
    """Undo the steps ``high`` down to ``low`` of a saga, and of others ``of`` its definition."""
    _end(_carry_out((UUID(saga_id), low, high, Direction.UNDO), swept=swept, of=of))


@shared_task(name="sagas.run_branch", **_LINK)
def run_branch(saga_id: str, step_no: int) -> None:
    """Run one branch of a parallel group."""
    _end(carry_out_branch(UUID(saga_id), step_no))


@shared_task(name="sagas.continue_saga", base=EngineTask)
def continue_saga(saga_id: str) -> None:
    """Read the row and send what is due; the one ``link_error`` of every chain."""
    read_and_send(UUID(saga_id))


@shared_task(name="sagas.sweep")
def sweep() -> None:
    """Hint every saga that is due."""
    look_for_due_sagas()


@shared_task(name="sagas.relay", base=EngineTask)
def relay_outboxes(context: str = "") -> None:
    """Publish what waits in the outboxes, and what waited only for its next attempt.

    A commit that rings names its context, which is then the only one.
    """
    # Handlers that take long give the worker back here too, and the rest goes by messages.
    with Apart() as apart:
        with apart.each():
            if relay.relay(context, on_the_spot=delivery.bring_up_to_date, spared=relay.SPARED):
                exchange.ring()
        # Last, and bounded: a stream that hangs holds up nothing that our own deliveries need.
        with apart.each():
            streaming.answer(context)
        if not context:
            with apart.each():
                dead_letters.retry_due()


@shared_task(name="sagas.send_outside")
def send_outside() -> None:
    """Publish events to the exchange for others; it bounds its own waits."""
    outside.send()


@shared_task(name="sagas.deliver", bind=True, base=EngineTask)
def deliver(task: Task[Any, Any], producer: str, consumer: str, event_ids: list[str]) -> None:
    """Apply events of one context in another."""
    came_by = (task.request.delivery_info or {}).get("routing_key")
    lane = relay.FRESH if came_by == relay.FRESH else relay.EVENTS
    with span(f"deliver to {consumer}", "consumer", producer=producer, events=len(event_ids)):
        delivery.deliver(producer, consumer, event_ids, lane=lane)


@shared_task(name="sagas.republish")
def republish_events() -> None:
    """Deliver again what a context has not applied in time, and note how fresh its tables are."""
    with Apart() as apart:
        for act in (republish.republish, bell.try_again, lag.note):
            with apart.each():
                act()


@shared_task(name="sagas.catch_up")
def catch_up() -> None:
    """Bring contexts that have begun to listen from the first event to the present."""
    catching_up.tick()


@shared_task(name="sagas.watch_slots")
def watch_slots() -> None:
    """Drop a slot for which too much of the log is kept."""
    slots.watch()


@shared_task(name="sagas.watch")
def watch() -> None:
    """Look at the flows that are due, and see to what is missing."""
    watchdog.watch()


@shared_task(name="sagas.prune")
def prune() -> None:
    """Delete what nobody needs any more."""
    pruning.tick()

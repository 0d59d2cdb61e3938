"""Where a rehearsal takes place: a broker that is a list, workers that die, time that jumps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from celery import current_app
from celery.exceptions import Ignore

from sagas import tasks  # noqa: F401 - the messages name them
from sagas.core.errors import SagasError
from sagas.failpoints import listening
from sagas.ids import uuid7
from sagas.models.saga import SagaInstance
from sagas.orchestration import canvas, orchestrator, signals
from sagas.orchestration.steps import StepRejected
from sagas.orchestration.sweep import sweep
from sagas.simulation.participants import effects, make_table
from sagas.simulation.understudy import RehearsedState, Said, Understudy
from sagas.transactions import connection_of, transaction

Happening = Callable[["Stage"], None]


class Killed(BaseException):
    """The worker is gone: nothing of the process is left but what has been committed."""


class NoRest(SagasError):
    """The saga neither ends nor parks, however often it is swept."""


class Stage:
    """One saga from its start to its rest."""

    ROUNDS = 60

    def __init__(self, play: Understudy) -> None:
        """Take the saga, and nothing of an earlier rehearsal."""
        self.play = play
        self.messages: list[Any] = []
        self.plan: dict[tuple[str, str], list[Happening]] = {}
        self.places: list[tuple[str, str]] = []
        self.doubled = False
        self.lost: set[int] = set()
        self.published = 0
        self.silent: set[str] = set()
        self.saga_id = uuid7()
        self.play.participants.forget()

    def at(self, place: str, detail: str, happening: Happening) -> None:
        """Let something happen the first time a worker comes by a place."""
        self.plan.setdefault((place, detail), []).append(happening)

    def perform(self) -> SagaInstance:
        """Start the saga and deliver, sweep and let time pass until it rests.

        :raises NoRest: if it never does
        """
        with self._on():
            self._run(self._start)
            self.settle()
        return self.row()

    def go_on(self) -> SagaInstance:
        """Deliver, sweep and let time pass once more, after somebody has acted."""
        with self._on():
            self.settle()
        return self.row()

    def row(self) -> SagaInstance:
        """Return how the saga stands."""
        return SagaInstance.objects.get(id=self.saga_id)

    def settle(self) -> None:
        """Carry on until the saga has ended or is parked."""
        for _ in range(self.ROUNDS):
            self.deliver_all()
            row = self.row()
            if row.finished_at or row.parked_at:
                return
            self._let_time_pass(row)
            self._run(sweep)
        raise NoRest(f"{self.row().status} at step {self.row().cursor} after {self.ROUNDS} sweeps")

    def deliver_all(self) -> None:
        """Deliver every message, and what comes of it."""
        for _ in range(self.ROUNDS):
            if not self.messages:
                return
            waiting, self.messages = self.messages, []
            for signature in waiting * 2 if self.doubled else waiting:
                self._run(partial(self._carry_out, signature))
        raise NoRest("messages without end")

    def others(self) -> None:
        """Let the lease of the worker under way run out, and others take the saga to its rest."""
        self._let_time_pass(self.row())
        self._run(sweep)
        self.settle()

    def _start(self) -> None:
        saga = self.play.saga
        with transaction(saga.context):
            orchestrator.start(saga, RehearsedState(), key=str(self.saga_id), saga_id=self.saga_id)
            if saga.steps[0].do is None:
                self._write_begun(saga.steps[0].name)

    def _write_begun(self, step: str) -> None:
        with connection_of(self.play.saga.context).cursor() as cursor:
            cursor.execute(
                "INSERT INTO public.rehearsed_effect VALUES (%s, %s, 'do')", [self.saga_id, step]
            )

    def _run(self, work: Callable[[], Any]) -> bool:
        """Let a process do some work; False when it died over it."""
        try:
            work()
        except Killed:
            return False
        return True

    def _carry_out(self, signature: Any) -> None:
        for link in getattr(signature, "tasks", [signature]):
            try:
                current_app.tasks[link.task](*link.args)
            except Ignore:
                return
            except StepRejected:
                # Celery copies the chain's error callback to every link.
                self.messages += signature.options.get("link_error", [])
                return

    def _publish(self, signature: Any, **_: Any) -> bool:
        self.published += 1
        if self.published not in self.lost:
            self.messages.append(signature)
        return True

    def _come_by(self, place: str, detail: str) -> None:
        self.places.append((place, detail))
        for happening in self.plan.pop((place, detail), ()):
            happening(self)

    def _let_time_pass(self, row: SagaInstance) -> None:
        """End every lease and delay; say what is waited for, or let the wait end."""
        if row.waiting_for and row.waiting_for.startswith("signal:"):
            name = row.waiting_for.partition(":")[2]
            if name not in self.silent:
                say = partial(signals.signal, self.saga_id, name, Said(), key="once")
                if not self._run(say):
                    self._run(say)  # whoever got no answer says it again under its key
        with connection_of("sagas").cursor() as cursor:
            for table, key in (("sagas_saga", "id"), ("sagas_steprun", "saga_id")):
                cursor.execute(_TIME_IS_UP[table].format(key=key), [self.saga_id])

    @contextmanager
    def _on(self) -> Iterator[None]:
        real, canvas.publish = canvas.publish, self._publish
        try:
            with listening(self._come_by):
                yield
        finally:
            canvas.publish = real


_TIME_IS_UP = {
    "sagas_saga": (
        "UPDATE sagas_saga SET due_at = clock_timestamp() - interval '1 hour',"
        " wait_until = wait_until - interval '2 hours',"
        " not_before = not_before - interval '1 day',"
        " leased_until = leased_until - interval '1 day'"
        " WHERE {key} = %s AND finished_at IS NULL AND parked_at IS NULL"
    ),
    "sagas_steprun": (
        "UPDATE sagas_steprun SET due_at = due_at - interval '1 day',"
        " leased_until = leased_until - interval '1 day' WHERE {key} = %s"
    ),
}


def kill(_: Stage) -> None:
    """Let the worker die here."""
    raise Killed


def freeze(stage: Stage) -> None:
    """Let the worker stand still here until others have brought the saga to its rest."""
    stage.others()


def cancel(stage: Stage) -> None:
    """Let the customer cancel here."""
    orchestrator.cancel(stage.saga_id, reason="canceled", by="customer")


def overdue(stage: Stage) -> None:
    """Let the deadline be over here."""
    with connection_of("sagas").cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_saga SET deadline_at = deadline_at - interval '2 days'"
            " WHERE id = %s AND finished_at IS NULL",
            [stage.saga_id],
        )


def late(stage: Stage) -> None:
    """Let the time for the step that the saga stands at be over here."""
    with connection_of("sagas").cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_saga SET step_deadline_at = step_deadline_at - interval '2 days'"
            " WHERE id = %s AND finished_at IS NULL",
            [stage.saga_id],
        )


__all__ = [
    "NoRest",
    "Stage",
    "cancel",
    "effects",
    "freeze",
    "kill",
    "late",
    "make_table",
    "overdue",
]

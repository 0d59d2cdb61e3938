"""A small world for the state machine: one saga's contexts, a provider, a bag of messages.

What happens next is told from outside: the answer of the next handler, who freezes, what is lost.
"""

import threading
from collections import Counter, defaultdict
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from celery import current_app
from celery.exceptions import Ignore
from django.conf import settings
from django.db import OperationalError, connection, connections
from django.test import override_settings

from sagas import clock
from sagas.api import (
    Lock,
    Meeting,
    Rejected,
    Saga,
    Unknown,
    begun,
    compensatable,
    current_run,
    pivot,
    retriable,
    start,
    transaction,
    wait_for,
)
from sagas.models import SagaInstance, SemanticLock, StepRun
from sagas.orchestration import registry
from sagas.orchestration.steps import StepRejected
from sagas.sometimes import sometimes
from tests.concurrency.sagas.races import Gate
from tests.databases import database_of
from tests.integration.sagas import kinds, trial
from tests.integration.sagas.trial import SCRIPT, TrialState
from tests.integration.sagas.waiting import Approved
from tests.together import PATIENCE

STEPS = (
    begun("open", undo=trial.build_close),
    compensatable("take", do=trial.build_take, undo=trial.build_put_back),
    compensatable("hold", do=trial.build_hold, undo=trial.build_release, keep=trial.keep_hold),
    wait_for("approve", signal=Approved, within=timedelta(minutes=3)),
    pivot("capture", do=trial.build_capture),
    retriable("book", do=trial.build_book),
)
MACHINE = Saga(
    name="orders.machine",
    version=1,
    state=TrialState,
    deadline=timedelta(minutes=5),
    steps=STEPS,
)


def the_order(state: TrialState) -> tuple[str, UUID]:
    return "orders.order", UUID(int=9)


# Of these one at a time has the order that all want, and the others wait for it.
LOCKED = Saga(
    name="orders.machine_with_lock",
    version=1,
    state=TrialState,
    deadline=timedelta(minutes=5),
    steps=STEPS,
    lock=Lock(on=the_order, meeting=Meeting.WAIT),
)
ASKING = (MACHINE, LOCKED)
"""Those that wait for an approval."""
MAY_SAY_NO = ("take", "pack", "score")
AT_HOME = (*MAY_SAY_NO, "put_back", "unpack", "unscore", "close", "book", "tell")
ANSWERS = ("yes", "no", "wrong no", "fault", "lost", "down", "dies before", "dies after")


class Killed(BaseException):
    """The process is gone: nothing that runs afterwards belongs to it."""


class Unheard(OperationalError):
    """The answer to a commit was lost on its way back."""


# Time passes only when a rule says so: no wait is over by itself, however slow the machine.
PATIENT = {
    "LEASE": 4000,
    "HARD_LIMIT": 3000,
    "STEP_TIMEOUT": 2500,
    "CALL_TIMEOUT": 500,
    "TIME_SLICE": 1000,
    "HINT_GRACE": 3600,
    "HINT_CAP": 3600,
    "DELAY_BASE": 3600,
    "DELAY_CAP": 3600,
    "MAX_ATTEMPTS": 2,
    "CLAIM_BATCH": 2,
}


class Memory(dict):
    """Redis, as far as done-keys and wake-ups need it; nothing expires by itself."""

    def set(self, name, value, *, nx=False, **options):
        if nx and name in self:
            return None
        self[name] = str(value).encode()
        return True

    def delete(self, name):
        self.pop(name, None)

    def forget_wake_ups(self):
        for name in [name for name in self if name.startswith("sagas:wake:")]:
            del self[name]

    def pipeline(self, **options):
        return Pipeline(self)


class Pipeline:
    """Several commands of which the answers come together."""

    def __init__(self, memory):
        self.memory = memory
        self.answers = []

    def delete(self, name):
        self.answers.append(self.memory.delete(name))

    def get(self, name):
        self.answers.append(self.memory.get(name))

    def execute(self):
        return self.answers


class World:
    """Everything outside the engine."""

    def __init__(self):
        self.bag = []
        self.answers = []
        self.frozen = []
        self.at_provider = defaultdict(lambda: "nothing")
        self.wrong = []
        for step in AT_HOME:
            SCRIPT[step] = lambda step=step: self.at_home(step)
        for call in ("hold", "release", "capture", "close_capture"):
            SCRIPT[call] = lambda call=call: self.away(call)

    # -- what handlers meet ---------------------------------------------------------------------

    def answer(self):
        """The next answer; whoever is to freeze stands still until it is thawed."""
        gate = getattr(threading.current_thread(), "gate", None)
        if gate is not None and not gate.reached.is_set():
            gate.wait_here()
        return self.answers.pop(0) if self.answers else "yes"

    def at_home(self, step):
        answer = self.answer()
        if answer.startswith("dies"):
            raise Killed
        if answer.endswith("no") and step in MAY_SAY_NO:
            raise Rejected("out_of_stock")
        if answer != "yes":
            raise RuntimeError(answer)

    def away(self, call):
        saga, answer = current_run().saga_id, self.answer()
        if answer == "dies before":
            raise Killed
        if answer == "fault":
            raise RuntimeError(answer)
        if answer == "down":
            raise Unknown(answer)
        outcome = self.provider(call, saga, is_no=answer == "no")
        if answer == "dies after":
            raise Killed
        if answer == "lost":
            raise Unknown(answer)
        if answer == "wrong no" and call == "capture":
            # Another request of ours was quicker, and this one is told no.
            raise Rejected("declined")
        return outcome

    def provider(self, call, saga, *, is_no):
        """The other side: a cancel is final, a repeated call is answered as the first was."""
        now = self.at_provider[saga]
        if call in {"release", "close_capture"}:
            if now == "captured":
                if call == "release":
                    self.wrong.append(f"{saga}: the hold of a captured payment was released")
                return "captured"
            self.at_provider[saga] = "canceled"
            return None
        wanted = "held" if call == "hold" else "captured"
        if now == "canceled" or (is_no and now != wanted):
            raise Rejected("declined")
        if now == wanted:
            sometimes("provider.replayed")
        elif call == "capture" and now != "held":
            self.wrong.append(f"{saga}: captured what was {now}")
        if now != "captured":
            self.at_provider[saga] = wanted
        return wanted

    # -- messages -------------------------------------------------------------------------------

    def publish(self, signature, **options):
        """Stand in for the broker."""
        self.bag.append(list(getattr(signature, "tasks", [signature])))
        for link in self.bag[-1]:
            link.options["link_error"] = signature.options.get("link_error", [])
        return True

    def run(self, links):
        """Run one link of a chain as a worker does; Celery then publishes the rest."""
        first, *rest = links
        try:
            current_app.tasks[first.task](*first.args)
        except Ignore:
            return
        except (StepRejected, Unheard):
            # As for any task that ends with an error.
            self.bag += [[callback] for callback in first.options.get("link_error", [])]
            return
        except Killed:
            return
        if rest:
            self.bag.append(rest)

    def after_a_sweep(self, ids):
        """Put the hints of a sweep into an order that repeats itself."""

        def place(links):
            saga_id, *steps = links[0].args
            is_branch = links[0].task == "sagas.run_branch"
            return ids.index(UUID(saga_id)), steps[0] if is_branch else -1

        self.bag.sort(key=place)

    def freeze(self, links):
        """Run a link in a thread that stands still at the first handler it comes to."""
        gate = Gate()

        def work():
            threading.current_thread().gate = gate
            try:
                self.run(links)
            finally:
                connections.close_all()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while thread.is_alive() and not gate.reached.wait(0.001):
            pass
        self.frozen.append((thread, gate))

    def thaw(self):
        """Let whoever froze first go on, to its end."""
        thread, gate = self.frozen.pop(0)
        gate.open()
        thread.join(PATIENCE)
        assert not thread.is_alive()

    @contextmanager
    def in_a_hurry(self):
        """Let every slice be spent with the first step."""
        with override_settings(SAGAS={**settings.SAGAS, "TIME_SLICE": 0.0}):
            yield

    @contextmanager
    def unanswered(self, number):
        """Let the answer to one commit get lost on its way back."""
        left = [number]

        def get_through_unheard(commit):
            commit()
            left[0] -= 1
            if left[0] == 0:
                raise Unheard("server closed the connection unexpectedly")

        with pytest.MonkeyPatch.context() as patch:
            for database in trial.databases():
                unheard = partial(get_through_unheard, database._commit)
                patch.setattr(database, "_commit", unheard)
            yield


def register() -> None:
    """Make the sagas known, once."""
    for saga in (MACHINE, LOCKED, kinds.FANNED, kinds.CHILD, kinds.PARENT):
        if (saga.name, saga.version) not in registry.SAGAS:
            registry.add(saga)


def begin(saga: Saga[Any], key: str) -> UUID:
    """Start a saga under a business key, or find the one that was."""
    saga_id = UUID(int=int(key) + 1)
    with transaction("orders"):
        return start(saga, saga.state(subject=saga_id), key=key, saga_id=saga_id)


FILLED = (
    *("sagas_saga", "sagas_steprun", "sagas_stepfault", "sagas_signal", "sagas_operatoraction"),
    *("sagas_lock", "sagas_clock", "orders_barrier", "payments_barrier", "billing_barrier"),
    # Where contexts are detached: what they ask of the engine, and its own steps.
    *("orders_outbox", "sagas_barrier", "sagas_inbox", "sagas_position"),
)


def empty_tables() -> None:
    """Forget every saga; quicker than to restore the whole database."""
    for database in trial.databases():
        own = [name for name in FILLED if database_of(name) is database]
        with database.cursor() as cursor:
            cursor.execute(
                # What is kept for ever is kept by a trigger; as a replica none is fired.
                "SET session_replication_role = replica; TRUNCATE public.trial_effect;"
                + "".join(f" DELETE FROM {name};" for name in own)
                + " RESET session_replication_role"
            )


def effects() -> dict[UUID, Counter[str]]:
    """What has taken effect, of each saga."""
    found: dict[UUID, Counter[str]] = defaultdict(Counter)
    for database in trial.databases():
        with database.cursor() as cursor:
            cursor.execute("SELECT saga, what FROM public.trial_effect")
            for saga, what in cursor.fetchall():
                found[saga][what] += 1
    return found


def holders() -> list[UUID]:
    """Return which saga has the order that all want."""
    return list(SemanticLock.objects.values_list("saga_id", flat=True))


def everybody() -> list[SagaInstance]:
    """Return all sagas in an order that repeats itself, parents first."""
    return sorted(SagaInstance.objects.all(), key=lambda saga: int(saga.key))


def open_branches() -> Counter[UUID]:
    """Return how many branches of each saga are left."""
    left = StepRun.objects.filter(direction="do", due_at__isnull=False)
    return Counter(left.values_list("saga_id", flat=True))


def let_time_pass() -> None:
    """Let every lease, delay and hint be over, in the order of the keys; waits go by business."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_steprun AS r SET due_at = statement_timestamp() - interval '2 hours'"
            " + (10 * key::int + step_no) * interval '1 second',"
            " not_before = CASE WHEN r.not_before IS NOT NULL"
            " THEN statement_timestamp() - interval '2 hours' END,"
            " leased_until = CASE WHEN r.leased_until IS NOT NULL"
            " THEN statement_timestamp() - interval '2 hours' END"
            " FROM sagas_saga AS s WHERE s.id = r.saga_id AND r.due_at IS NOT NULL"
        )
        cursor.execute(
            "UPDATE sagas_saga SET due_at = statement_timestamp() - interval '2 hours'"
            " + key::int * interval '1 second',"
            " not_before = CASE WHEN not_before IS NOT NULL"
            " THEN statement_timestamp() - interval '2 hours' END,"
            " leased_until = CASE WHEN leased_until IS NOT NULL"
            " THEN statement_timestamp() - interval '2 hours' END"
            " WHERE finished_at IS NULL AND due_at IS NOT NULL"
        )


def let_business_time_pass(distance: timedelta) -> None:
    """Move the business clock; what is due by it is due in the order of the keys."""
    clock.travel(distance)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_saga SET due_at = statement_timestamp() - interval '1 minute'"
            " + key::int * interval '1 second' WHERE due_at <= clock_timestamp()"
        )

"""How a context with a database of its own starts a saga: once, by a row of its outbox.

The engine's rows say which sagas there are, the outbox says which have been asked for. The row of
a start has an id that follows from name and business key, so of two transactions that ask at once
the second waits for the first and finds its row. It is kept for days after the engine has heard of
it, so whoever looks at the engine and then writes into the outbox misses no start.
"""

from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from django.db.models import Q

from sagas.core import codec
from sagas.core.definition import Saga
from sagas.core.locks import Meeting
from sagas.models.saga import SagaInstance
from sagas.orchestration import locks, requests
from sagas.orchestration.insertion import NewSaga
from sagas.orchestration.locks import Holder
from sagas.orchestration.starting import Again, id_taken, last_run, refusal, refuse_unfit
from sagas.sometimes import sometimes


def ask_to_start(saga: Saga[Any], new: NewSaga, again: Again) -> UUID:
    """Ask for a saga in the caller's transaction, unless its business key is taken.

    :raises AlreadyStarted: if it is, and ``again`` is ``REFUSE``
    :raises IdTaken: if its id is that of another saga
    :raises Locked: if its aggregate is in the hand of another saga and its lock refuses
    :raises UnfitKey: if the key could not be stored
    """
    refuse_unfit(new.key)
    attempt = new
    while (found := _taken(attempt) or _ask(saga, attempt)) is not None:
        sometimes("start.repeated")
        first, ended = found
        if again is Again.REFUSE:
            raise refusal(new, first)
        if again is Again.SAME or not ended:
            return first
        last = last_run(new.name, new.key)
        if not last.ended:
            return last.saga_id
        attempt = last.next(new)
    return attempt.saga_id


def _taken(new: NewSaga) -> tuple[UUID, bool] | None:
    """Return the saga that the engine has under a business key, and whether it has ended.

    :raises IdTaken: if it has another one under the id
    """
    known = SagaInstance.objects.filter(Q(name=new.name, key=new.key) | Q(id=new.saga_id))
    rows = list(known.values_list("name", "key", "id", "finished_at"))
    for name, key, saga_id, finished_at in rows:
        if (name, key) == (new.name, new.key):
            return saga_id, finished_at is not None
    if rows:
        raise id_taken(new)
    return None


def _ask(saga: Saga[Any], new: NewSaga) -> tuple[UUID, bool] | None:
    """Write the request, or return the saga that somebody else has asked for under its key."""
    request_id = uuid5(NAMESPACE_OID, f"{new.name} {new.key}")
    holder = _meet(saga, new)
    if holder is not None:
        first = _first(new, request_id)
        if first is None:
            raise locks.refused_by(holder)
        return first  # perhaps the holder itself, of which the engine has just heard
    if not requests.post(new, request_id):
        first = _first(new, request_id)
        assert first is not None, "the row that was in the way is kept for days"
        return first
    if new.begun_step is not None:
        requests.begin(new.saga_id)
    return None


def _first(new: NewSaga, request_id: UUID) -> tuple[UUID, bool] | None:
    """Return the saga that the engine has, or has been asked for, under a business key."""
    asked = requests.asked_for(request_id)
    return _taken(new) or (None if asked is None else (asked, False))


def _meet(saga: Saga[Any], new: NewSaga) -> Holder | None:
    """Return whom the caller meets and is refused by, while it can still be refused.

    A look only: whoever takes the lock after it and before the engine has heard is the first, and
    this saga is then turned round (``requests.py``).
    """
    if saga.lock is None or saga.lock.meeting is not Meeting.REFUSE:
        return None
    target = saga.lock.on(codec.decode(saga.state, new.state))
    return locks.holder_of(*target) if locks.is_held(target) else None

"""The answer to a request, kept under its Idempotency-Key with the work it is the answer to.

The row in ``<context>_idempotency`` commits with the work, so there is never one without the
other; an advisory lock, which ends with the transaction, keeps a twin out meanwhile. Nothing is
leased and nothing can be left behind. Redis gets the answer after the commit and is asked first,
but holds no claim: a miss, an error or an empty Redis means "look at the row".
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import redis

from sagas.conf import conf
from sagas.core.errors import SagasError
from sagas.correlation import SYSTEM, acting
from sagas.failpoints import failpoint
from sagas.orchestration.donekeys import client
from sagas.sometimes import sometimes
from sagas.transactions import after_commit, connection_of, table, transaction

log = logging.getLogger(__name__)


class KeyInUse(SagasError):
    """A request with this key is being worked on: send it again in a moment."""


class KeyReused(SagasError):
    """This key belongs to another request: use a fresh one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyedRequest:
    """A request that must have its effect once, however often it is sent."""

    context: str
    """Whose transaction does the work, and whose table keeps the answer."""
    scope: str
    """Who asks for what; the same key of somebody else is another key."""
    key: str
    fingerprint: str
    """What the request says; another one must not hide behind the same key."""
    principal: str = SYSTEM
    """Who asks, which the events of the work say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a request is answered."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    replayed: bool = False
    """The work was done earlier, and this is what was said then."""


Perform = Callable[[], Answer]
Prepare = Callable[[], Perform]


def answer_once(
    request: KeyedRequest,
    prepare: Prepare,
    *,
    refusals: tuple[type[Exception], ...] = (),
) -> Answer:
    """Do the work of a request once and give every copy of it the same answer.

    :param prepare: everything that needs no transaction of this context; it may look, not write,
        and returns the work, which runs inside the transaction
    :param refusals: what ``prepare`` raises when the request cannot be carried out; it is passed
        on, unless a twin has done the work meanwhile
    :raises KeyInUse: while a twin is at work
    :raises KeyReused: if the key came with another request
    """
    known = _recall(request)
    if known is not None:
        return known
    try:
        perform = prepare()
    except refusals:
        # Perhaps it is refused only because a twin has just done it: the cart is empty by now.
        known = _stored(request)
        if known is None:
            raise
        return known
    answer = _in_one_transaction(request, perform)
    if not answer.replayed:
        failpoint("request.committed")
    return answer


def _in_one_transaction(request: KeyedRequest, perform: Perform) -> Answer:
    with acting(request.principal), transaction(request.context):
        # A statement of its own: the row is to be read with a snapshot taken after the lock.
        if not _try_lock(request):
            raise KeyInUse
        answer = _stored(request)
        if answer is None:
            answer = perform()
            _store(request, answer)
            failpoint("request.before_commit")
        kept = answer
        after_commit(lambda: _remember(request, kept))
    return answer


def _try_lock(request: KeyedRequest) -> bool:
    name = "\n".join((request.context, request.scope, request.key))
    with connection_of(request.context).cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        return bool(cursor.fetchall()[0][0])


def _stored(request: KeyedRequest) -> Answer | None:
    with connection_of(request.context).cursor() as cursor:
        cursor.execute(
            "SELECT fingerprint, status, headers::text, body"  # noqa: S608
            f" FROM {table(request.context, 'idempotency')} WHERE scope = %s AND key = %s",
            [request.scope, request.key],
        )
        row = cursor.fetchone()
    if row is None:
        return None
    fingerprint, status, headers, body = row
    return _replay(request, fingerprint, status=status, headers=json.loads(headers), body=body)


def _store(request: KeyedRequest, answer: Answer) -> None:
    with connection_of(request.context).cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table(request.context, 'idempotency')}"  # noqa: S608
            " (scope, key, fingerprint, status, headers, body)"
            " VALUES (%s, %s, %s, %s, %s::jsonb, %s)",
            [
                request.scope,
                request.key,
                request.fingerprint,
                answer.status,
                json.dumps(dict(answer.headers)),
                answer.body,
            ],
        )


def _replay(request: KeyedRequest, fingerprint: object, **said: Any) -> Answer:
    if fingerprint != request.fingerprint:
        raise KeyReused
    sometimes("request.replayed")
    return replace(Answer(**said), replayed=True)


def _name_in_redis(request: KeyedRequest) -> str:
    whole = "\n".join((request.context, request.scope, request.key))
    return f"sagas:request:{hashlib.sha256(whole.encode()).hexdigest()}"


def _recall(request: KeyedRequest) -> Answer | None:
    try:
        found = client().get(_name_in_redis(request))
    except redis.RedisError as error:
        log.warning("answer_unread", extra={"error": str(error)})
        return None
    if not isinstance(found, bytes):
        return None
    try:
        said = json.loads(found)
        return _replay(request, said.pop("fingerprint"), **said)
    except (ValueError, TypeError, KeyError, AttributeError):
        log.warning("answer_unreadable", extra={"key": request.key})
        return None


def _remember(request: KeyedRequest, answer: Answer) -> None:
    said = {
        "fingerprint": request.fingerprint,
        "status": answer.status,
        "headers": dict(answer.headers),
        "body": answer.body,
    }
    try:
        client().set(_name_in_redis(request), json.dumps(said), ex=int(conf.DONE_KEY_SECONDS))
    except redis.RedisError as error:
        log.warning("answer_unwritten", extra={"error": str(error)})

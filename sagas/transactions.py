"""Transactions by intent, in the manner of Kraken's django-subatomic.

``transaction(context)`` is the only way to open one: it says whose tables may be touched, and
with ``CONTEXT_ROLES`` PostgreSQL holds the code to it. The doorbell at the end of the module is
the only place where ``on_commit`` may stand.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context

from django.conf import settings
from django.db import connections
from django.db import transaction as django_transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from sagas.core.errors import SagasError
from sagas.correlation import correlated, current_or_new


class OutsideTransaction(SagasError):
    """This must run inside ``with transaction(context)``."""


class NestedTransaction(SagasError):
    """A transaction is open already: commit it before another is begun."""


class InsideTransaction(SagasError):
    """This calls out to another system and must not run inside a transaction."""


class EngineElsewhere(SagasError):
    """The engine's rows are in another database and cannot change in this transaction."""


_context: ContextVar[str | None] = ContextVar("transaction_context", default=None)
_rung: ContextVar[set[str] | None] = ContextVar("transaction_rung", default=None)
_NAME = re.compile(r"^[a-z_][a-z0-9_]*$")

ENGINE = "sagas"
"""The name under which the engine's own tables are a context like the others."""


def alias_of(context: str) -> str:
    """Return the database alias that holds a context's tables."""
    aliases: dict[str, str] = getattr(settings, "CONTEXT_DATABASES", {})
    return aliases.get(context, "default")


def is_detached(context: str) -> bool:
    """Return whether a context's tables are in another database than the engine's."""
    return alias_of(context) != alias_of(ENGINE)


def in_one_database() -> bool:
    """Return whether the tables of all contexts are in the engine's database."""
    return not getattr(settings, "CONTEXT_DATABASES", {})


def connection_of(context: str) -> BaseDatabaseWrapper:
    """Return the connection to a context's database."""
    return connections[alias_of(context)]


@contextlib.contextmanager
def transaction(context: str, *, as_owner: bool = False) -> Iterator[None]:
    """Run the block in one transaction that may touch this context and the engine.

    :param as_owner: keep the login role, which owns the tables and can lay out new ones
    :raises NestedTransaction: if one is open already
    """
    if _context.get() is not None:
        raise NestedTransaction
    token = _context.set(context)
    rung = _rung.set(set())
    try:
        # Events and sagas of one transaction belong together, also where no request began it.
        with (
            correlated(current_or_new()),
            django_transaction.atomic(using=alias_of(context), durable=True),
        ):
            if not as_owner:
                _take_role(context)
            yield
    finally:
        _rung.reset(rung)
        _context.reset(token)


def engine_transaction(context: str) -> contextlib.AbstractContextManager[None]:
    """Open the transaction that moves a saga for a step of a context.

    It is the context's own, so that the move and the effect are one commit, unless the context
    has a database of its own: then it is the engine's.

    :raises NestedTransaction: if one is open already
    """
    return transaction(ENGINE if is_detached(context) else context)


def _take_role(context: str) -> None:
    if not getattr(settings, "CONTEXT_ROLES", False):
        return
    connection = connection_of(context)
    role = f"{connection.settings_dict['NAME']}_{context}"
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {connection.ops.quote_name(role)}")


def current_context() -> str | None:
    """Return the context whose transaction is open, if one is."""
    return _context.get()


def transaction_required() -> str:
    """Return the context whose transaction is open.

    :raises OutsideTransaction: if none is
    """
    context = _context.get()
    if context is None:
        raise OutsideTransaction
    return context


def outside_transaction() -> None:
    """Make sure that no transaction is open before the world is called.

    :raises InsideTransaction: if one is
    """
    if _context.get() is not None:
        raise InsideTransaction


def engine_in_reach() -> None:
    """Make sure that the engine's tables are part of the transaction that is open, if one is.

    :raises EngineElsewhere: if the transaction is that of a context with its own database
    """
    context = _context.get()
    if context is not None and is_detached(context):
        raise EngineElsewhere(context)


def is_plain(context: str) -> bool:
    """Return whether a context's name can stand in SQL as it is."""
    return _NAME.fullmatch(context) is not None


def table(context: str, name: str) -> str:
    """Return the name of one of a context's messaging tables, safe to put into SQL.

    Context names come from the code, never from a message; the check keeps it that way.
    """
    if not is_plain(context):
        raise ValueError(context)
    return f"{context}_{name}"


def after_commit(ring: Callable[[], None]) -> None:
    """Call a doorbell when the current transaction has committed.

    Best effort by design: the process may die between the commit and the call, and an error
    of the call is logged, never raised into code whose work is already committed. Whatever
    must not be lost is a row that the sweeper or the relay finds.
    """
    context = transaction_required()
    django_transaction.on_commit(ring, using=alias_of(context), robust=True)


def outside(ring: Callable[[], None]) -> None:
    """Call what opens transactions of its own from a doorbell, which hangs on to its own.

    Also from a transaction of the engine, for one in the database of a detached context.
    """

    def call() -> None:
        _context.set(None)
        ring()

    copy_context().run(call)


def after_commit_once(name: str, ring: Callable[[], None]) -> None:
    """Call a doorbell once after the current transaction, however often it is asked for.

    Each asking has a hook, of which the first that runs rings: one is dropped with its savepoint.
    """
    transaction_required()
    rung = _rung.get()

    def once() -> None:
        if rung is not None and name not in rung:
            rung.add(name)
            ring()

    after_commit(once)

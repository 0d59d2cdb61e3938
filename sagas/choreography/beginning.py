"""Where a choreography begins: with what is told after it was declared, as a row says for good.

A context with a database of its own is heard by the engine, which may read its old events when
new ones of the same aggregate come. Colocated nobody asks: who tells the first event opens a flow.
"""

import logging
from typing import Any

from django.apps import AppConfig
from django.db import DatabaseError

from sagas.choreography.flows import FLOWS
from sagas.core.choreography import Choreography
from sagas.core.commands import context_of
from sagas.failpoints import failpoint
from sagas.models import FlowBeginning
from sagas.outbox import past
from sagas.outbox.apart import Apart
from sagas.transactions import ENGINE, alias_of, connection_of

log = logging.getLogger(__name__)

_BEGIN = """
INSERT INTO sagas_flowbeginning (name, border) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING
"""


def begin_new() -> None:
    """Write down each choreography that is declared for the first time.

    Safe to repeat and by many at once: who is first says where it begins, and that stands. Also
    where nobody is detached, since a context may move out later.

    :raises django.db.Error: if a database is away, after the others have had their turn
    """
    known = set(FlowBeginning.objects.values_list("name", flat=True))
    with Apart() as apart:
        for flow in FLOWS.values():
            if flow.name not in known:
                with apart.each():
                    _begin(flow)


def begin_migrated(app_config: AppConfig, using: str, **_: Any) -> None:
    """Write down those that begin in an app that has just been migrated: nobody tells before."""
    if alias_of(app_config.label) != using:
        return
    try:
        for flow in FLOWS.values():
            if context_of(flow.begins_with) == app_config.label:
                _begin(flow)
    except DatabaseError as missing:  # the engine or the app has no tables so far; a tick does it
        log.info("flow_not_begun", extra={"context": app_config.label, "error": str(missing)})


def _begin(flow: Choreography) -> None:
    border = past.last_position(context_of(flow.begins_with))
    with connection_of(ENGINE).cursor() as cursor:
        cursor.execute(_BEGIN, [flow.name, border])
    failpoint("consumer.begun", flow.name)


def begun_before(position: int) -> frozenset[str]:
    """Return the names of the choreographies that were declared when an event was told."""
    rows = FlowBeginning.objects.filter(border__lt=position)
    return frozenset(rows.values_list("name", flat=True))

"""System checks of the engine."""

import os
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, connections

from sagas import failpoints
from sagas.append_only import histories, unguarded
from sagas.conf import SETTINGS, conf
from sagas.contexts import with_tables
from sagas.orchestration import versions
from sagas.outbox import stream
from sagas.outbox.streaming import streamed
from sagas.transactions import alias_of, is_plain, table


@register("sagas")
def check_time_outs(**_: Any) -> list[CheckMessage]:
    """Refuse time-outs in an order under which a guard would come too late."""
    if _unfit_values():
        return []  # said by check_settings, and nothing to compare
    order = ("CALL_TIMEOUT", "STEP_TIMEOUT", "HARD_LIMIT", "LEASE", "VISIBILITY")
    return [
        Error(
            f"SAGAS[{shorter!r}] must be shorter than SAGAS[{longer!r}]",
            hint="The order is one remote call < soft limit < hard limit < lease < visibility.",
            id="sagas.E001",
        )
        for shorter, longer in pairwise(order)
        if getattr(conf, shorter) >= getattr(conf, longer)
    ]


@register("sagas")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Refuse settings that do not exist, or with which nothing would be carried out."""
    unknown = [
        Error(
            f"SAGAS[{name!r}] is no setting",
            hint=f"Settings are {', '.join(get_close_matches(name, SETTINGS) or SETTINGS)}.",
            id="sagas.E004",
        )
        for name in getattr(settings, "SAGAS", {})
        if name not in SETTINGS
    ]
    return [*unknown, *_unfit_values()]


def _unfit_values() -> list[CheckMessage]:
    return [
        Error(
            f"SAGAS[{name!r}] = {chosen!r} {SETTINGS[name].wrong(chosen)}",
            hint=f"Leave it out for {SETTINGS[name].default:g}.",
            id="sagas.E005",
        )
        for name, chosen in getattr(settings, "SAGAS", {}).items()
        if name in SETTINGS and SETTINGS[name].wrong(chosen)
    ]


@register("sagas")
def check_project(**_: Any) -> list[CheckMessage]:
    """Refuse a project whose times or contexts the engine cannot live with."""
    found: list[CheckMessage] = []
    if not settings.USE_TZ:
        found.append(
            Error(
                "USE_TZ is off, and the engine compares its times with the database's",
                hint="Set USE_TZ = True.",
                id="sagas.E006",
            )
        )
    return [*found, *_unfit_contexts()]


def _unfit_contexts() -> list[CheckMessage]:
    chosen, known = getattr(settings, "CONTEXTS", None), with_tables()
    hint = f"CONTEXTS = {known!r} names every app that has an outbox, and so does leaving it out."
    if isinstance(chosen, str):
        return [Error("CONTEXTS is a text, and not a tuple of labels", hint=hint, id="sagas.E007")]
    foreign = [
        Error(
            f"CONTEXTS names {label!r}, which is no label of an app with an outbox",
            hint=hint,
            id="sagas.E007",
        )
        for label in chosen or ()
        if label not in known
    ]
    unnamable = [
        Error(
            f"{label!r} cannot be a context: the names of its tables need quotes",
            hint="Give the app a label of small letters, digits and underscores.",
            id="sagas.E008",
        )
        for label in known
        if not is_plain(label)
    ]
    return [*foreign, *unnamable, *_without_history(known)]


def _without_history(known: Sequence[str]) -> list[CheckMessage]:
    return [
        Error(
            f"{app.label!r} has an outbox and no history for what the relay takes out of it",
            hint="Add `class Event(EventBase)` to its models, and a migration.",
            id="sagas.E012",
        )
        for app in apps.get_app_configs()
        if app.label in known and not histories(app)
    ]


@register("sagas")
def check_stream(**_: Any) -> list[CheckMessage]:
    """Refuse a stream that has no name, or is in no Redis: nothing would leave the outboxes."""
    try:
        stream.address()
    except stream.UnfitAddress as wrong:
        return [
            Error(
                f"RELAY_STREAM is {str(wrong)!r}, which names no stream in a Redis",
                hint="Set it like redis://127.0.0.1:6379/0/events, or leave it out.",
                id="sagas.E014",
            )
        ]
    names = {model._meta.db_table for model in apps.get_models()}
    return [
        Error(
            f"RELAY_STREAM is set and {context!r} has no tables for what is due there",
            hint="Add StreamDueBase and StreamLeaseBase to its models, and a migration.",
            id="sagas.E028",
        )
        for context in streamed()
        if not {table(context, "streamdue"), table(context, "streamlease")} <= names
    ]


@register("sagas")
def check_failpoints(**_: Any) -> list[CheckMessage]:
    """Refuse failpoints in production, and misspelt ones anywhere."""
    # A control file counts before it is written: it is read at every hit.
    if not any(os.environ.get(name) for name in failpoints.VARIABLES):
        return []
    if not (settings.DEBUG or getattr(settings, "FAST", False)):
        return [
            Error(
                "failpoints are armed although DEBUG is off",
                hint="Unset CONCORD_FAILPOINTS and CONCORD_FAILPOINTS_FILE.",
                id="sagas.E002",
            )
        ]
    try:
        failpoints.parse(failpoints.armed_text())
    except failpoints.InvalidFailpoint as wrong:
        return [Error(str(wrong), id="sagas.E003")]
    return []


@register(Tags.database, "sagas")
def check_definitions(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Refuse a release that could not carry out what lives: `check --database default`."""
    if alias_of("sagas") not in (databases or ()):
        return []
    try:
        return list(versions.unfit())
    except DatabaseError:
        return []  # before the first `migrate` there is nothing that could live


@register(Tags.database, "sagas")
def check_histories(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Warn of a history that could be rewritten; not refused, since `migrate` puts it right."""
    found: list[tuple[str, str]] = []
    for app in apps.get_app_configs():
        tables = histories(app)
        alias = alias_of(app.label) if tables else None
        if alias is None or alias not in (databases or ()):
            continue
        try:
            found += unguarded(connections[alias], tables)
        except DatabaseError:
            continue  # a database that is not there is said by whoever needs it
    return [
        checks.Warning(
            f"{table} can be rewritten: its trigger append_only {said}",
            hint="Put it on with `manage.py migrate`, and ask who took it off.",
            id="sagas.W022",
        )
        for table, said in sorted(found)
    ]

"""System checks of the engine."""

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError

from sagas import failpoints
from sagas.conf import conf
from sagas.orchestration import versions
from sagas.transactions import alias_of


@register("sagas")
def check_time_outs(**_: Any) -> list[CheckMessage]:
    """Refuse time-outs in an order under which a guard would come too late."""
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

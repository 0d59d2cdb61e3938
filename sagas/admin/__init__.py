"""The operators' screens: sagas, messages and dead letters, read-only but for guarded actions.

A context builds its own screens on ``sagas.admin.records`` and adds its tables to the search box
with ``sagas.admin.search.findable``; the engine's screens know no context.
"""

from sagas.admin import (
    consumers,
    dead_letters,
    operator_actions,
    rollouts,
    sagas,
    unreadable,
    users,
    watched_flows,
)

__all__ = [
    "consumers",
    "dead_letters",
    "operator_actions",
    "rollouts",
    "sagas",
    "unreadable",
    "users",
    "watched_flows",
]

"""How PostgreSQL looks after tables through which rows pass, or in which they change all the time.

The default vacuums when a fifth of a table is dead, which for an outbox of a million rows is after
two hundred thousand. Here it is after a fiftieth, and without the pauses that spread a vacuum out.
Room is left on each page, so that leasing an event or moving a position touches no index.
"""

from typing import Final

from django.db.migrations import RunSQL

_OFTEN: Final = {
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_insert_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_vacuum_cost_delay": "0",
}
_ROOM: Final = {"outbox": "70", "inbox": "100", "position": "70"}


def vacuum_often(context: str, *, outbox: bool = True) -> RunSQL:
    """Return the operation that sets this for a context's outbox, inbox and positions."""
    tables = [name for name in _ROOM if outbox or name != "outbox"]
    return RunSQL(
        [_set(f"{context}_{name}", _ROOM[name]) for name in tables],
        [_reset(f"{context}_{name}") for name in tables],
    )


def vacuum_queue(context: str) -> RunSQL:
    """Return the operation that sets this for what a context has due for the stream."""
    return RunSQL(_set(f"{context}_streamdue", "100"), _reset(f"{context}_streamdue"))


def _set(table: str, room: str) -> str:
    chosen = ", ".join(f"{name} = {value}" for name, value in _OFTEN.items())
    return f"ALTER TABLE {table} SET ({chosen}, fillfactor = {room})"


def _reset(table: str) -> str:
    return f"ALTER TABLE {table} RESET ({', '.join(_OFTEN)}, fillfactor)"

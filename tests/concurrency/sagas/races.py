"""Standing in the middle of somebody's transaction, and seeing who waits."""

import contextlib
import threading

from django.db import connection

from tests.together import PATIENCE


class Gate:
    """A place where one thread waits until the others have done something."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait_here(self):
        """Say that we are here, and wait until the gate is opened."""
        self.reached.set()
        assert self.opened.wait(PATIENCE), "nobody opened the gate"

    def when_reached(self):
        assert self.reached.wait(PATIENCE), "nobody came to the gate"

    def open(self):
        self.opened.set()


def until_somebody_waits_for_a_lock(unless=lambda: False):
    """Return when a session waits for a lock of another one, or has no need to any more."""
    for _ in range(4000):
        if unless():
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                # Those of detached contexts are named after this one.
                " WHERE wait_event_type = 'Lock' AND datname ^@ current_database()"
            )
            if cursor.fetchone()[0]:
                return
        threading.Event().wait(0.005)
    raise AssertionError("nobody waits")


@contextlib.contextmanager
def row_locked(saga_id):
    """Hold the row of a saga, so that whoever wants it waits."""
    connection.ensure_connection()
    with connection.connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sagas_saga WHERE id = %s FOR UPDATE", [saga_id])
        yield

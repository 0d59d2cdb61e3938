"""The entry point that Django looks for in a database backend.

Note [One alias, several schemas]

All schemas are on the search_path of the one connection, `public` first, so Django's own tables
and every unqualified name are found as in any other project: migrations, introspection and the
flush between transactional tests need nothing special. Only the place where a table is made is
ours (`schema.py`). `migrate` sets the search_path and the limits of a session (time-outs) on the
role in the database and not as start-up options, which PgBouncer refuses or silently drops.
"""

import select

from django.db.backends.postgresql.base import DatabaseWrapper as PostgresqlWrapper
from psycopg.pq import TransactionStatus

from config.postgresql.schema import DatabaseSchemaEditor


class DatabaseWrapper(PostgresqlWrapper):
    """Django's own wrapper with our schema editor."""

    SchemaEditorClass = DatabaseSchemaEditor

    def is_usable(self) -> bool:
        """Look at the socket before the server is asked.

        A server that has ended, or has cut the session, has closed it or written why, so a silent
        socket is a good one, and a question to the server before every task is saved. Anything to
        read may also be a notice: then Django's own question decides.
        """
        if self.connection is None or self.connection.closed:
            return False
        if self.connection.info.transaction_status is not TransactionStatus.IDLE:
            return super().is_usable()  # a transaction that has failed answers no question
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0) or super().is_usable()

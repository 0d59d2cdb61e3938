"""`migrate`, and around it what the tables need: schemas, roles, audit views, groups."""

from typing import Any, Final

from django.core.management.base import CommandParser
from django.core.management.commands.migrate import Command as Migrate
from django.db import connections

from config import audit, roles
from sagas import groups
from sagas.orchestration import rollout

# Of two deployments that migrate at once the second one waits for the first.
LOCK: Final = 0x636F6E63


class Command(Migrate):
    """Creates the schemas first, so that any number of runs ends in the same database."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Let `--database` choose one; without it all are migrated."""
        super().add_arguments(parser)
        parser.set_defaults(database=None)

    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        """Check every database that is about to be migrated."""
        named = options["database"]
        return {
            **super().get_check_kwargs(options),
            "databases": [named] if named else list(connections),
        }

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate the database that is named, or each in turn."""
        for alias in [options["database"]] if options["database"] else list(connections):
            self._migrate(*args, **options | {"database": alias})

    def _migrate(self, *args: Any, **options: Any) -> None:
        """Prepare, migrate, grant. `--plan` and `--check` change nothing."""
        if options["plan"] or options["check_unapplied"]:
            super().handle(*args, **options)
            return
        connection = connections[options["database"]]
        roles.lift_session_limits(connection)  # waiting for the other one has no time-out either
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        try:
            roles.create_schemas(connection)
            roles.set_session_defaults(connection)
            audit.drop_before_migrating(connection)
            super().handle(*args, **options)
            audit.install(connection)
            groups.ensure(using=connection.alias)
            rollout.ensure(using=connection.alias)
            if roles.create_roles(connection):
                roles.grant_privileges(connection)
        finally:
            connection.close()  # ends the lock, and the session that has no time-outs

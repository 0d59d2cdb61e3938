"""What a command needs before it can begin."""

from django.core.management.base import CommandError
from django.db import OperationalError, connection


def require_database() -> None:
    """Make sure that the database answers.

    :raises CommandError: if it does not, with what to do about it
    """
    try:
        connection.ensure_connection()
    except OperationalError as error:
        first = str(error).partition("\n")[0]
        raise CommandError(
            f"the database does not answer ({first}): `manage.py up` starts one, or set"
            " DATABASE_URL to yours"
        ) from error

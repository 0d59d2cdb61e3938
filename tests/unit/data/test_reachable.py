import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("seed", {"customers": 1}),
        ("invariants", {}),
        ("demo", {}),
    ],
)
def test_without_a_database_a_command_says_how_to_start_one(monkeypatch, command, options):
    def refused():
        raise OperationalError("connection is bad: No such file\nIs the server running?")

    monkeypatch.setattr(connection, "ensure_connection", refused)

    with pytest.raises(CommandError) as said:
        call_command(command, **options)

    assert str(said.value) == (
        "the database does not answer (connection is bad: No such file): `manage.py up` starts"
        " one, or set DATABASE_URL to yours"
    )

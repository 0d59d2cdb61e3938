from django.db import connection

from tests.integration.sagas import trial


def test_the_engines_statements_are_planned_once_a_connection(broker):
    for _ in range(3):
        trial.begin()
    broker.drain()

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), sum(generic_plans + custom_plans) FROM pg_prepared_statements"
            " WHERE statement LIKE '%UPDATE sagas_saga SET fencing_token%'"
        )
        assert cursor.fetchone() == (1, 3)

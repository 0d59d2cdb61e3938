from datetime import timedelta

from django.db import connection

from sagas import clock
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import row


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


def test_a_commit_inside_a_link_leaves_a_young_lease_alone(broker):
    seen = []
    trial.SCRIPT["take"] = lambda: seen.append(row(saga_id).leased_until)
    trial.SCRIPT["intend_hold"] = lambda: seen.append(row(saga_id).leased_until)
    saga_id = trial.begin()
    broker.drain()

    assert seen[0] == seen[1]
    assert row(saga_id).status == "completed"


def test_a_commit_inside_a_link_renews_a_lease_of_which_half_is_gone(broker, settings):
    seen = []

    def grow_old():
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE sagas_saga SET leased_until = clock_timestamp() + make_interval(secs => %s)"
                " WHERE id = %s",
                [settings.SAGAS["LEASE"] * 0.49, saga_id],
            )

    trial.SCRIPT["take"] = grow_old
    trial.SCRIPT["intend_hold"] = lambda: seen.append(row(saga_id))
    saga_id = trial.begin()
    broker.drain()

    (found,) = seen
    assert found.leased_until > clock.real() + timedelta(seconds=settings.SAGAS["LEASE"] * 0.8)
    assert abs(found.due_at - found.leased_until) < timedelta(seconds=1)
    assert row(saga_id).status == "completed"

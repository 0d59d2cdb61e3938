import json
import re
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections

from config.invariants import INVARIANTS, evaluate
from config.invariants.progress import MOVES
from sagas.core.events import Event
from sagas.orchestration import registry
from tests.integration.data import world
from tests.integration.data.plants import PLANTS
from tests.integration.data.world import run_sql


@pytest.fixture(scope="module")
def shop(database_as_migrated, session_provider, django_db_blocker):
    """Orders of every kind; no test changes what is committed."""
    with django_db_blocker.unblock():
        database_as_migrated.restore()
        yield world.make()
        connections.close_all()
        database_as_migrated.restore()


@pytest.fixture
def planting(shop, django_db_blocker):
    """A transaction in which no trigger fires, rolled back after the test."""
    with django_db_blocker.unblock(), world.rolled_back():
        world.everywhere("SET LOCAL session_replication_role = replica")
        yield shop


def found(**options):
    """The invariants that are violated, each with the worst cases of its parts."""
    with world.views() as cursor:
        results = evaluate(cursor, INVARIANTS, **options)
    return {
        result.id: "; ".join(part.worst for part in result.parts if part.violations)
        for result in results
        if result.violations
    }


def test_nothing_is_violated_where_nothing_is_wrong(planting):
    assert found() == {}
    assert found(age=0) == {}
    assert found(at_rest=True, age=0) == {}


def test_a_detached_context_may_know_of_a_step_that_its_saga_does_not(planting):
    run_sql(
        "DELETE FROM sagas_steprun d WHERE direction = 'do' AND state = 'done' AND EXISTS ("
        " SELECT FROM sagas_saga s JOIN sagas_steprun u ON u.saga_id = s.id"
        " WHERE s.id = d.saga_id AND s.status = 'compensated' AND u.direction = 'undo'"
        " AND u.step_no = d.step_no AND u.state = 'done')"
    )

    assert found(detached=False).keys() == {"I3", "I7"}
    assert found(detached=True) == {}


def test_every_part_has_something_to_look_at(planting):
    run_sql(
        "INSERT INTO orders_idempotency (scope, key, fingerprint, status, headers, body)"
        " SELECT 'POST', 'k', '', 202, jsonb_build_object('Location', '/api/v1/orders/' || id), ''"
        " FROM orders_order LIMIT 1"
    )
    run_sql(
        "INSERT INTO payments_webhookevent (id, provider, event_ref, type, provider_ref, body,"
        " state) VALUES (gen_random_uuid(), 'simulator', 'e', 't', '', '', 'parked')"
    )
    with world.views() as cursor:
        results = evaluate(cursor, INVARIANTS)

    idle = {
        (result.id, part.says) for result in results for part in result.parts if not part.checked
    }
    assert idle == {
        ("I5", "A saga that is due is taken up; at rest none is left."),
        ("I5", "A saga that has missed its deadline turns round."),
    }


@pytest.mark.parametrize("plant", PLANTS)
def test_a_violation_is_found_and_named(planting, plant):
    statement, invariant, words = PLANTS[plant]
    for each in statement.split(";"):
        run_sql(each)

    violations = found()

    assert words in violations.get(invariant, "nothing"), violations


@pytest.mark.colocated  # whether the plants are complete; each of them is planted in both modes
def test_every_part_is_violated_by_some_plant(planting):
    missing = {(each.id, part.says) for each in INVARIANTS for part in each.parts}

    for statement, *_ in PLANTS.values():
        with world.rolled_back():
            for each in statement.split(";"):
                run_sql(each)
            with world.views() as cursor:
                results = evaluate(cursor, INVARIANTS)
        missing -= {
            (result.id, part.says) for result in results for part in result.parts if part.violations
        }

    assert missing == set()


def test_the_command_prints_every_invariant_and_leaves_with_zero(shop, django_db_blocker):
    out = StringIO()

    with django_db_blocker.unblock():
        call_command("invariants", json=True, stdout=out)

    rows = json.loads(out.getvalue())["invariants"]
    assert [row["id"] for row in rows] == [invariant.id for invariant in INVARIANTS]
    assert {(row["violations"], row["worst"]) for row in rows} == {(0, None)}
    assert all(row["checked"] > 0 for row in rows)


def test_the_command_leaves_with_one_and_names_the_worst_case(shop, django_db_blocker):
    with django_db_blocker.unblock():
        run_sql("SET session_replication_role = replica")
        run_sql("UPDATE sagas_operatoraction SET reason = ''")
        out = StringIO()
        try:
            with pytest.raises(SystemExit) as left:
                call_command("invariants", stdout=out)
        finally:
            run_sql("UPDATE sagas_operatoraction SET reason = 'to see whether it ends'")
            run_sql("RESET session_replication_role")

    assert left.value.code == 1
    assert "violated 1 times: Every act of an operator has a name" in out.getvalue()
    assert "by olga: no reason" in out.getvalue()


@pytest.mark.parametrize("age", ["x", "nan", "inf", "-1", "1e300"])
def test_an_age_that_no_thing_has_is_refused(age):
    with pytest.raises(CommandError, match=f"--age: '{age}' is no number of seconds from 0 to"):
        call_command("invariants", f"--age={age}")


def test_every_event_that_is_told_is_among_the_moves():
    registry.discover()

    told = {event.name for event in Event.__subclasses__() if event.__module__.endswith(".events")}

    assert told == {target for _, target in MOVES}


def test_the_document_names_every_part_and_when_it_holds():
    text = (settings.BASE_DIR / "docs" / "invariants.md").read_text()

    documented = re.findall(r"^\| ([^|]+\.) \| (\w+) \|$", text, flags=re.MULTILINE)

    assert documented == [(part.says, part.when) for each in INVARIANTS for part in each.parts]

"""No guard is without a line in docs/mutants.md, and no line without a guard."""

from django.apps import apps

from tests.architecture.source import modules
from tests.mutants import document, guards, table

HOW = (
    "`.venv/bin/python -m tests.mutants.document` makes the rows, and"
    " `python3 manage.py test tests/mutants -m long --write --missing` fills them"
)


def test_every_guard_is_in_the_document():
    known, here = set(document.rows()), set(table.mutants())

    assert here - known == set(), f"new guards; find out who notices them: {HOW}"
    assert known - here == set(), f"guards that are gone; take their rows out, or: {HOW}"


def test_every_guard_is_missed_by_somebody():
    unnoticed = [name for name, (by, _) in document.rows().items() if by == "**nobody**"]

    assert unnoticed == []


def test_every_rule_of_the_database_is_a_guard():
    """Of the engine's own tables, and of those that each context has of it."""
    declared = {
        f"{model._meta.db_table}.{rule.name}".replace(label, "*" if _is_shared(model) else label)
        for label in ("sagas", "orders")
        for model in apps.get_app_config(label).get_models()
        if label == "sagas" or _is_shared(model)
        for rule in model._meta.constraints
    }

    assert declared == set(table.CONSTRAINTS)


def _is_shared(model):
    """Whether each context has such a table."""
    base = model.__bases__[0]
    shared = {"sagas.models.contextual", "sagas.models.event"}
    return base.__module__ in shared and base.__name__ != "Aggregate"


def test_each_guard_can_be_taken_out():
    texts = {module.name: module.text for module in modules()}

    for mutant in table.mutants().values():
        if mutant.module:
            compile(mutant.mutated(texts[mutant.module]), mutant.module, "exec")


def test_a_condition_is_found_in_every_place_where_it_stands():
    found = {str(guard) for guard in guards.found()}

    assert {
        "sagas.orchestration.store.MOVE: fencing_token = %(token)s",
        "sagas.orchestration.stops.park: finished_at IS NULL",
        "sagas.outbox.delivery._take_position: p.sequence = excluded.sequence - 1",
        "sagas.outbox.relay._LEASE: FOR UPDATE SKIP LOCKED",
        "sagas.idempotency.records._try_lock: pg_try_advisory_xact_lock",
    } <= found

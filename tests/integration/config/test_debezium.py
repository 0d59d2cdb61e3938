"""The connector that docs/outbox.md describes finds what it names in the outboxes.

What comes out of it is in tests/workers/test_debezium.py, where there is a Debezium.
"""

import re

import pytest
from django.conf import settings

from tests.databases import rows
from tests.debezium import document

pytestmark = pytest.mark.django_db

ROUTER = "transforms.outbox."
FITTING = {
    "id": {"uuid", "text"},
    "aggregatetype": {"text", "character varying"},
    "aggregateid": {"uuid", "text"},
    "type": {"text", "character varying"},
    "payload": {"json", "jsonb"},
    "version": {"integer", "bigint"},
    "sequence": {"integer", "bigint"},
    "occurred_at": {"timestamp with time zone"},
    "correlation_id": {"text"},
    "traceparent": {"text"},
}
# What the router looks for when nothing is said.
DEFAULTS = {"id", "aggregatetype", "aggregateid", "type", "payload"}


@pytest.fixture(scope="module")
def connector():
    return document.connector()["config"]


def columns_named(connector):
    named = {
        value
        for name, value in connector.items()
        if name.startswith(ROUTER + "table.field.event.") or name == ROUTER + "route.by.field"
    }
    placed = connector[ROUTER + "table.fields.additional.placement"].split(",")
    return named, {each.partition(":")[0] for each in placed}


def columns_of(table):
    schema, _, name = table.partition(".")
    return dict(
        rows(
            "SELECT column_name, data_type FROM information_schema.columns"
            f" WHERE table_schema = '{schema}' AND table_name = '{name}'"
        )
    )


def test_the_connector_reads_the_outbox_of_every_context(connector):
    tables = connector["table.include.list"].split(",")

    assert tables == [f"{settings.SCHEMAS[c]}.{c}_outbox" for c in settings.CONTEXTS]


def test_every_column_of_the_documented_connector_exists_with_a_fitting_type(connector):
    routed, placed = columns_named(connector)

    assert routed == DEFAULTS
    for table in connector["table.include.list"].split(","):
        types = columns_of(table)
        unfit = {
            column: types.get(column)
            for column in routed | placed
            if types.get(column) not in FITTING[column]
        }
        assert unfit == {}, table


def test_the_id_of_an_event_is_unique_and_nothing_the_router_needs_may_be_missing(connector):
    for table in connector["table.include.list"].split(","):
        schema, _, name = table.partition(".")
        nullable = rows(
            "SELECT column_name FROM information_schema.columns WHERE is_nullable = 'YES'"
            f" AND table_schema = '{schema}' AND table_name = '{name}'"
        )
        assert {column for (column,) in nullable} & DEFAULTS == set()
        unique = rows(
            "SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
            f" AND a.attnum = i.indkey[0] WHERE i.indrelid = '{schema}.{name}'::regclass"
            " AND i.indisunique AND i.indnatts = 1 AND a.attname = 'id'"
        )
        assert unique == [(1,)]


@pytest.mark.colocated
def test_the_publication_has_the_inserts_of_these_tables_and_nothing_else(connector):
    [publication] = re.findall("CREATE PUBLICATION[^;]+", document.statements())
    rows(publication)

    name = connector["publication.name"]
    tables = rows(
        "SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = %s",
        [name],
    )
    assert sorted(table for (table,) in tables) == sorted(
        connector["table.include.list"].split(",")
    )
    kinds = "SELECT pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication"
    assert rows(f"{kinds} WHERE pubname = %s", [name]) == [(True, False, False, False)]


def test_our_marks_are_none_of_its_business(connector):
    assert set(connector["skipped.operations"].split(",")) == {"u", "d", "t"}


def test_what_a_run_has_shown_to_be_needed_is_there(connector):
    """Each alone does not do it; without Debezium nothing else would notice one that is gone."""
    needed = {
        "publication.autocreate.mode": "disabled",  # else its role has to own the outboxes
        "lsn.flush.mode": "connector_and_driver",  # with a heartbeat; else quiet outboxes keep log
        "offset.mismatch.strategy": "trust_slot",  # else it does not start after a kill then
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    }

    assert needed.items() <= connector.items()
    assert 0 < int(connector["heartbeat.interval.ms"]) <= 60_000
    assert not [name for name in connector if "expand.json" in name]  # it leaves out what is null

"""The connector that docs/outbox.md describes finds what it names in the outboxes."""

import json
import re

import pytest
from django.conf import settings

from tests.architecture.source import ROOT
from tests.databases import rows

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
    [block] = [
        json.loads(text)
        for text in re.findall(
            r"```json\n(.*?)```", (ROOT / "docs" / "outbox.md").read_text(), re.DOTALL
        )
        if "connector.class" in text
    ]
    return block["config"]


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


def test_our_marks_are_none_of_its_business(connector):
    assert set(connector["skipped.operations"].split(",")) == {"u", "d", "t"}

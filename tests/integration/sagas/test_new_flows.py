"""A choreography that is new, where its first context has a database of its own."""

from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest
from django.apps import apps
from django.db import ProgrammingError

from billing.choreographies import REWARD
from sagas import failpoints
from sagas.choreography import beginning, flows, opening
from sagas.choreography.beginning import begin_new
from sagas.core.choreography import Choreography, Hop
from sagas.failpoints import FailpointHit
from sagas.models import FlowBeginning, WatchedFlow
from sagas.outbox import event_map, subscriptions
from sagas.outbox.delivery import deliver
from sagas.outbox.relay import relay
from sagas.transactions import ENGINE, alias_of
from tests.integration.sagas.news import Told, Whispered, a_teller, outbox, tell
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("broker", "nobody_listens")


def a_choreography(name, begins_with=Told.name):
    return Choreography(
        name=f"orders.{name}",
        begins_with=begins_with,
        hops=(Hop(context="billing"),),
        within=timedelta(minutes=1),
    )


@pytest.fixture(autouse=True)
def declare(monkeypatch):
    """Declares choreographies; their first context has a database of its own, or is said to."""
    monkeypatch.setattr(flows, "FLOWS", {})
    monkeypatch.setattr(beginning, "FLOWS", flows.FLOWS)
    monkeypatch.setattr(opening, "is_detached", lambda _: True)
    known = {(event.name, 1): event for event in (Told, Whispered)}
    monkeypatch.setattr(event_map, "emitted", lambda: known)

    def declare(*names, begins_with=Told.name, written=True):
        for name in names:
            flow = a_choreography(name, begins_with)
            flows.FLOWS[flow.name] = flow
        for key in [key for key in subscriptions.SUBSCRIPTIONS if key[0] == begins_with]:
            del subscriptions.SUBSCRIPTIONS[key]
        opening.listen()
        if written:
            begin_new()

    return declare


def hear():
    """Let the engine hear everything that was ever told."""
    deliver("orders", ENGINE, [str(row.id) for row in outbox()])


def opened():
    return sorted(
        (row.name, row.payload["text"]) for row in WatchedFlow.objects.order_by("opened_at")
    )


def test_a_flow_that_is_declared_later_begins_with_what_is_told_from_then_on(declare):
    teller = a_teller()
    tell(teller, "old", "older")

    declare("greets")
    tell(teller, "new")
    hear()
    assert opened() == [("orders.greets", "new")]


def test_of_an_aggregate_of_which_nothing_new_is_told_none_is_opened(declare):
    tell(a_teller(), "old")
    declare("greets")
    tell(a_teller(), "new")

    hear()
    assert opened() == [("orders.greets", "new")]


def test_two_that_begin_with_the_same_event_begin_each_at_its_time(declare):
    teller = a_teller()
    declare("greets")
    tell(teller, "old")

    declare("waves")
    tell(teller, "new")
    hear()
    assert opened() == [
        ("orders.greets", "new"),
        ("orders.greets", "old"),
        ("orders.waves", "new"),
    ]


def test_one_that_begins_with_another_event_of_the_same_aggregate_hears_none_of_the_old(declare):
    teller = a_teller()
    declare("greets")
    tell(teller, "whispered", event=Whispered)

    declare("hushes", begins_with=Whispered.name)
    tell(teller, "told")
    tell(teller, "whispered again", event=Whispered)
    hear()
    assert opened() == [("orders.greets", "told"), ("orders.hushes", "whispered again")]


def test_where_it_began_stands(declare):
    declare("greets")
    tell(a_teller(), "told")
    before = FlowBeginning.objects.values().get(name="orders.greets")

    assert raised(together(*[begin_new] * 4)) == []
    assert FlowBeginning.objects.values().get(name="orders.greets") == before


def test_one_that_is_not_written_down_is_opened_for_nothing_and_a_tick_writes_it_down(declare):
    declare("greets", written=False)
    teller = a_teller()
    tell(teller, "old")
    hear()
    assert opened() == []

    relay()
    tell(teller, "new")
    hear()
    assert opened() == [("orders.greets", "new")]


def test_a_tick_that_dies_when_it_has_written_one_down_is_followed_by_one_that_does_the_rest(
    declare, monkeypatch
):
    declare("greets", "waves", written=False)
    monkeypatch.setattr(failpoints, "_hits", Counter())
    monkeypatch.setenv("CONCORD_FAILPOINTS", "consumer.begun=raise:1")
    with pytest.raises(FailpointHit):
        begin_new()
    assert FlowBeginning.objects.filter(name="orders.greets").exists()
    assert not FlowBeginning.objects.filter(name="orders.waves").exists()

    begin_new()
    assert FlowBeginning.objects.filter(name="orders.waves").exists()


def test_what_a_dead_letter_of_the_engine_brings_again_is_opened_once(declare):
    declare("greets")
    tell(a_teller(), "told")
    hear()
    hear()

    assert opened() == [("orders.greets", "told")]
    assert WatchedFlow.objects.get().event_id == UUID(str(outbox()[0].id))


# -- at `migrate` ----------------------------------------------------------------------------------


def migrated(label, using):
    beginning.begin_migrated(apps.get_app_config(label), using=using)


def test_the_flows_of_a_fresh_project_begin_before_anything_is_told():
    assert FlowBeginning.objects.get(name=REWARD.name).border == 0


def test_what_begins_in_an_app_that_was_migrated_is_written_down(declare):
    declare("greets", written=False)

    migrated("billing", alias_of("billing"))
    migrated("orders", "another")
    assert not FlowBeginning.objects.filter(name="orders.greets").exists()
    migrated("orders", alias_of("orders"))
    assert FlowBeginning.objects.filter(name="orders.greets").exists()


def test_before_the_engine_has_its_tables_it_is_left_to_a_tick(declare, monkeypatch):
    declare("greets", written=False)

    def missing(_):
        raise ProgrammingError("relation sagas_flowbeginning does not exist")

    with monkeypatch.context() as early:
        early.setattr(beginning, "_begin", missing)
        migrated("orders", alias_of("orders"))
    assert not FlowBeginning.objects.filter(name="orders.greets").exists()

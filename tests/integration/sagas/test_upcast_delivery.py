"""Rows of an old version, and consumers that listen to a newer one."""

from dataclasses import dataclass

import pytest

from sagas.core import upcasting
from sagas.core.upcasting import upcasts
from sagas.models import DeadLetter
from sagas.outbox.delivery import deliver
from tests.integration.sagas import trial
from tests.integration.sagas.news import Told, a_teller, grow_old, listen, outbox, position, tell

pytestmark = pytest.mark.usefixtures("broker", "nobody_listens")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoudlyTold:
    """What version 3 says: the text, and how loud."""

    text: str
    loudness: int


@pytest.fixture(autouse=True)
def no_upcasters(monkeypatch):
    monkeypatch.setattr(upcasting, "UPCASTERS", {})


def to_version_3():
    @upcasts(Told.name, 1)
    def spoken(payload):
        return {"spoken": payload["text"]}

    @upcasts(Told.name, 2)
    def loud(payload):
        return {"text": payload["spoken"].upper(), "loudness": 11}


def bring(event_id):
    return deliver("orders", "billing", [event_id])


def test_a_consumer_of_a_later_version_is_given_an_old_row_in_its_own_words():
    to_version_3()
    heard = []
    listen(version=3, payload=LoudlyTold, act=heard.append)
    [event_id] = tell(a_teller(), "hello")

    assert bring(event_id) == 1
    assert (heard, trial.effects()) == (["HELLO"], ["billing:HELLO#1"])
    assert outbox(event_id=event_id).payload == {"text": "hello"}


def test_a_consumer_of_several_versions_hears_each_event_once_in_the_nearest_of_them():
    to_version_3()
    listen(version=1)
    listen(version=3, payload=LoudlyTold)
    [event_id] = tell(a_teller(), "hello")

    assert bring(event_id) == 1
    assert trial.effects() == ["billing:hello#1"]


def test_a_row_of_a_version_from_which_no_way_leads_waits_for_the_release_that_has_one():
    listen(version=3, payload=LoudlyTold)
    teller = a_teller()
    [event_id] = tell(teller, "hello")

    assert bring(event_id) == 0
    assert DeadLetter.objects.get().reason.startswith("UnknownVersion: ")
    to_version_3()
    grow_old()
    assert bring(event_id) == 1
    assert (position(teller), trial.effects()) == (1, ["billing:HELLO#1"])


def test_an_upcaster_that_fails_holds_its_aggregate_as_a_handler_would():
    @upcasts(Told.name, 1)
    def broken(payload):
        return {"spoken": payload["no such field"]}

    listen(version=2)
    teller, other = a_teller(), a_teller()
    [event_id] = tell(teller, "hello")
    [second] = tell(teller, "again")

    assert bring(event_id) + bring(second) == 0
    assert DeadLetter.objects.get().reason.startswith("KeyError")
    assert (position(teller), position(other)) == (0, 0)

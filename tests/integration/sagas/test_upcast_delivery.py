"""Rows of an old version, and consumers and projections that listen to another one."""

from dataclasses import dataclass

import pytest

from orders.models import CustomerAccess
from sagas.api import Projection, Put, current_event
from sagas.core import upcasting
from sagas.core.upcasting import upcasts
from sagas.models import DeadLetter
from sagas.outbox.delivery import deliver
from sagas.projections import declaring
from sagas.projections.rebuild import rebuild
from tests.databases import rows
from tests.integration.sagas import trial
from tests.integration.sagas.news import (
    Told,
    ToldSeen,
    a_teller,
    grow_old,
    listen,
    outbox,
    position,
    tell,
)

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


@dataclass(frozen=True, kw_only=True, slots=True)
class WordsTold:
    """The text in parts, each an object of its own."""

    words: tuple[dict[str, str], ...]

    @property
    def text(self):
        return self.words[0]["said"]


def test_two_handlers_of_a_context_are_given_the_same_of_an_old_row():
    @upcasts(Told.name, 1)
    def louder(payload):
        for word in payload["words"]:
            word["said"] += "!"
        return payload

    listen(version=2, payload=WordsTold)
    listen(version=2, payload=WordsTold)
    [event_id] = tell(a_teller(), "hello")
    rows("UPDATE orders_outbox SET payload = %s", ['{"words": [{"said": "hello"}]}'])

    assert bring(event_id) == 1
    assert trial.effects() == ["billing:hello!#1"] * 2


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


# -- a projection beside the handlers of its context -----------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class SpokenSeen:
    """What version 2 says; its handler is given the text by the name that it knows."""

    spoken: str

    @property
    def text(self):
        return self.spoken


def put_spoken(event: SpokenSeen) -> Put:
    return Put(current_event().aggregate_id, currency=event.spoken, can_be_billed=True)


def put_text(event: ToldSeen) -> Put:
    return Put(current_event().aggregate_id, currency=event.text, can_be_billed=True)


@pytest.fixture
def wallets(monkeypatch):
    """A projection of orders that is made of nothing yet."""
    monkeypatch.setattr(declaring, "PROJECTIONS", {})
    return Projection("orders.wallets", version=1, into=CustomerAccess)


def wallet():
    return list(CustomerAccess.objects.values_list("customer_id", "currency", "seen"))


def bring_home(event_id):
    return deliver("orders", "orders", [event_id])


def written_as_version_2(teller):
    [event_id] = tell(teller, "GBP")
    rows("UPDATE orders_outbox SET version = 2, payload = %s", ['{"spoken": "GBP"}'])
    return event_id


def test_a_table_built_anew_is_the_live_one_also_where_a_handler_reads_an_older_version(wallets):
    wallets.on(Told.name, 2)(put_spoken)
    listen("orders", version=1)
    to_version_3()
    teller = a_teller()
    [event_id] = tell(teller, "GBP")

    assert bring_home(event_id) == 1
    live = wallet()
    assert live == [(teller.id, "GBP", {f"orders.customer:{teller.id}": 1})]
    assert trial.effects() == ["orders:GBP#1"]
    rebuild(wallets)
    assert wallet() == live


def test_two_projections_of_a_context_are_each_given_the_version_that_they_read(wallets):
    heard = []
    other = Projection("orders.others", version=1, into=CustomerAccess)
    wallets.on(Told.name, 1)(put_text)

    @other.on(Told.name, 2)
    def put(event: SpokenSeen) -> None:
        heard.append(event.spoken)

    to_version_3()
    [event_id] = tell(a_teller(), "GBP")

    assert bring_home(event_id) == 1
    assert (heard, [row[1] for row in wallet()]) == (["GBP"], ["GBP"])


def test_a_version_that_a_projection_does_not_read_waits_also_where_a_handler_reads_it(wallets):
    wallets.on(Told.name, 1)(put_text)
    listen("orders", version=2, payload=SpokenSeen)
    to_version_3()
    teller = a_teller()
    event_id = written_as_version_2(teller)

    assert bring_home(event_id) == 0
    assert DeadLetter.objects.get().reason.startswith("UnknownVersion: ")
    assert (position(teller, "orders"), wallet(), trial.effects()) == (0, [], [])

    wallets.on(Told.name, 2)(put_spoken)
    grow_old()
    assert bring_home(event_id) == 1
    assert ([row[1] for row in wallet()], trial.effects()) == (["GBP"], ["orders:GBP#1"])


def test_a_version_that_a_handler_does_not_read_waits_also_where_a_projection_reads_it(wallets):
    wallets.on(Told.name, 2)(put_spoken)
    listen("orders", version=1)
    teller = a_teller()
    event_id = written_as_version_2(teller)

    assert bring_home(event_id) == 0
    assert DeadLetter.objects.get().reason.startswith("UnknownVersion: ")
    assert (position(teller, "orders"), wallet()) == (0, [])

import pytest

from sagas.core import upcasting
from sagas.core.upcasting import DoubleUpcaster, NoUpcaster, leads, upcast, upcasts


@pytest.fixture(autouse=True)
def chain(monkeypatch):
    """Version 1 has an amount in pounds, 2 in pence, 3 with a currency."""
    monkeypatch.setattr(upcasting, "UPCASTERS", {})

    @upcasts("orders.Trial", 1)
    def to_pence(payload):
        payload["pence"] = payload.pop("pounds") * 100
        return payload

    @upcasts("orders.Trial", 2)
    def with_currency(payload):
        return {**payload, "currency": "GBP"}


def test_a_payload_goes_through_every_version_on_the_way():
    assert upcast("orders.Trial", {"pounds": 3}, 1, 3) == {"pence": 300, "currency": "GBP"}
    assert upcast("orders.Trial", {"pence": 3}, 2, 3) == {"pence": 3, "currency": "GBP"}


def test_what_was_written_stays_as_it_is():
    written = {"pounds": 3}
    upcast("orders.Trial", written, 1, 2)

    assert written == {"pounds": 3}


def test_what_was_written_stays_as_it_is_also_where_an_upcaster_changes_a_part_of_it_in_place():
    @upcasts("orders.Parcels", 1)
    def to_grams(payload):
        for parcel in payload["parcels"]:
            parcel["weight"] *= 1000
        return payload

    written = {"parcels": [{"weight": 2}]}
    read = [upcast("orders.Parcels", written, 1, 2) for _ in range(2)]

    assert read == [{"parcels": [{"weight": 2000}]}] * 2
    assert written == {"parcels": [{"weight": 2}]}


def test_what_an_upcaster_has_put_in_is_not_changed_by_the_next():
    nothing = {"lines": []}

    @upcasts("orders.Parcels", 1)
    def without_lines(_payload):
        return nothing

    @upcasts("orders.Parcels", 2)
    def with_a_line(payload):
        payload["lines"].append("parcel")
        return payload

    read = [upcast("orders.Parcels", {}, 1, 3) for _ in range(2)]
    assert read == [{"lines": ["parcel"]}] * 2


def test_a_payload_of_the_wanted_version_is_read_as_it_is():
    assert upcast("orders.Trial", {"x": 1}, 3, 3) == {"x": 1}
    assert upcast("orders.Other", {"x": 1}, 1, 1) == {"x": 1}


@pytest.mark.parametrize(("written", "wanted"), [(1, 4), (3, 4), (3, 2)])
def test_where_no_way_leads_nothing_is_guessed(written, wanted):
    assert not leads("orders.Trial", written, wanted)
    with pytest.raises(NoUpcaster, match=f"from version {written} to {wanted}"):
        upcast("orders.Trial", {}, written, wanted)


def test_a_version_has_one_upcaster():
    with pytest.raises(DoubleUpcaster, match=r"orders\.Trial version 1"):
        upcasts("orders.Trial", 1)(dict)

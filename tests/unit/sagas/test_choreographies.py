"""Declaring flows of events: what is refused at once, and what `check` says of the rest."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from billing.choreographies import REWARD
from sagas.choreography import flows
from sagas.choreography.checks import check_choreographies
from sagas.core.choreography import Choreography, Hop
from sagas.core.definition import InvalidDefinition
from sagas.outbox import subscriptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown:
    no_such_field: str


def asks(event: Unknown) -> bool:
    return bool(event)


def declared(*hops, name="billing.trial", **facts):
    return Choreography(
        **{
            "name": name,
            "begins_with": "orders.OrderConfirmed",
            "hops": hops,
            "within": timedelta(minutes=1),
            **facts,
        }
    )


def unpack(event: Unknown) -> None:
    pass


GRANTS = Hop(context="billing", tells="billing.CouponGranted")
TELLS = Hop(context="orders")


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr(flows, "FLOWS", {})
    monkeypatch.setattr("sagas.choreography.checks.FLOWS", flows.FLOWS)


def test_the_reward_is_a_flow_that_is_carried():
    flows.add(REWARD)

    assert check_choreographies() == []


@pytest.mark.parametrize(
    ("hops", "facts", "said"),
    [
        ((), {}, "at least one hop"),
        ((TELLS, TELLS), {}, "every hop but the last tells the next event"),
        ((GRANTS,), {}, "every hop but the last tells the next event"),
        ((TELLS,), {"within": timedelta(0)}, "more than 0"),
        ((TELLS,), {"redrives": -1}, "more than 0"),
        ((replace(GRANTS, undo=unpack), replace(TELLS, undo=unpack)), {}, "a name of its own"),
        ((TELLS,), {"when": lambda: True}, "is called with one value"),
        ((TELLS,), {"when": lambda event: event}, "takes one dataclass"),
    ],
)
def test_a_flow_that_cannot_be_watched_is_refused(hops, facts, said):
    with pytest.raises(InvalidDefinition, match=said):
        declared(*hops, **facts)


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        (declared(Hop(context="warehouse")), "warehouse is no context"),
        (
            declared(Hop(context="orders", tells="billing.CouponGranted"), TELLS),
            "orders cannot tell billing.CouponGranted",
        ),
    ],
)
def test_a_flow_of_what_is_not_there_is_refused(flow, said):
    with pytest.raises(InvalidDefinition, match=said):
        flows.add(flow)


def test_two_flows_of_one_name_are_refused():
    flows.add(declared(GRANTS, TELLS))

    with pytest.raises(InvalidDefinition, match="defined twice"):
        flows.add(declared(GRANTS, TELLS))


def test_a_hop_whose_event_nobody_publishes_is_an_error():
    flows.add(declared(Hop(context="billing", tells="billing.CouponPrinted"), TELLS))

    [untold, unheard] = check_choreographies()
    assert (untold.id, untold.msg) == (
        "sagas.E021",
        "billing.trial: no context publishes billing.CouponPrinted",
    )
    assert unheard.msg == "billing.trial: orders does not listen to billing.CouponPrinted"


def test_a_hop_that_does_not_listen_is_an_error():
    flows.add(declared(Hop(context="payments")))

    [error] = check_choreographies()
    assert error.msg == "billing.trial: payments does not listen to orders.OrderConfirmed"


def test_a_field_that_the_first_event_does_not_have_is_an_error():
    flows.add(declared(GRANTS, TELLS, when=asks))

    [error] = check_choreographies()
    assert (error.id, error.msg) == (
        "sagas.E022",
        "billing.trial: orders.OrderConfirmed v1 has no no_such_field",
    )


def test_a_flow_that_outlasts_what_is_kept_of_its_hops_is_an_error():
    flows.add(declared(GRANTS, TELLS, within=timedelta(days=29, hours=23, minutes=58)))

    [error] = check_choreographies()
    assert (error.id, error.msg) == (
        "sagas.E023",
        "billing.trial: may last 30 days, and inbox and outbox are kept for 30",
    )


def test_a_broken_number_of_days_is_read_as_pruning_reads_it(settings):
    settings.SAGAS = {**settings.SAGAS, "RETENTION_DAYS": 2.9}
    flows.add(declared(GRANTS, TELLS, within=timedelta(days=2, minutes=1)))

    [error] = check_choreographies()
    assert (error.id, error.msg) == (
        "sagas.E023",
        "billing.trial: may last 2 days, and inbox and outbox are kept for 2",
    )


def test_a_path_of_more_than_four_hops_is_a_warning_also_over_several_flows(monkeypatch):
    monkeypatch.setattr(subscriptions, "consumers_of", lambda _: ["orders", "billing"])
    flows.add(declared(GRANTS, TELLS))
    assert check_choreographies() == []
    onward = Hop(context="orders", tells="orders.OrderPlaced")
    flows.add(
        declared(onward, onward, onward, TELLS, name="x", begins_with="billing.CouponGranted")
    )

    [warning] = check_choreographies()
    assert (warning.id, warning.msg) == (
        "sagas.W021",
        "billing.trial: 5 hops follow each other, and nobody has the whole in view",
    )

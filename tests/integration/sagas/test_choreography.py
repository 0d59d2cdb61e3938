"""A flow of events that nobody conducts, and the watchdog that notices when a part is missing."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection

from billing.choreographies import REWARD
from billing.coupons import services as coupon_services
from orders.models import Outbox
from sagas import clock, failpoints
from sagas.api import transaction
from sagas.choreography import flows as registered
from sagas.choreography import moves, operating, told, watchdog
from sagas.choreography.looking import look, missing
from sagas.choreography.moves import Overtaken
from sagas.choreography.words import next_words
from sagas.conf import conf
from sagas.core import upcasting
from sagas.core.choreography import Choreography, Hop
from sagas.core.upcasting import upcasts
from sagas.models import DeadLetter, OperatorAction, WatchedFlow
from sagas.outbox import dead_letters
from sagas.outbox.pruning import prune
from sagas.outbox.republish import republish
from sagas.reasons import ReasonMissing
from tests.databases import rows
from tests.integration.sagas.flows import (
    a_flow,
    an_earning_order,
    carry,
    confirm,
    coupons,
    flow,
    make_due,
    messages,
    publish_all,
    tell_of,
)
from tests.integration.sagas.news import grow_old
from tests.together import together

WITHDRAW = "billing.coupons.services.withdraw"


def watch(*, overdue=False):
    make_due(overdue=overdue)
    return watchdog.watch()


def give_up(broker):
    """Let the watchdog come by until it re-drives no more, and every message be lost."""
    for _ in range(REWARD.redrives + 1):
        watch(overdue=True)
        broker.take()


class Died(BaseException):
    """The process ends here; nothing in it catches that."""


def tell_and_die(order):
    tell_of(order)
    raise Died


# -- a flow begins with its event ------------------------------------------------------------------


def test_a_flow_is_opened_in_the_transaction_of_its_first_event(broker):
    order = a_flow(broker)

    opened = flow()
    assert (opened.name, opened.state, opened.aggregateid) == (REWARD.name, "running", order.id)
    assert opened.payload["total"] == 12_500
    assert opened.deadline_at - opened.opened_at > REWARD.within / 2


@pytest.mark.colocated
def test_an_event_that_was_rolled_back_opens_no_flow():
    order = an_earning_order()

    with pytest.raises(Died), transaction("orders"):
        tell_and_die(order)

    assert WatchedFlow.objects.count() == 0


def test_an_order_that_earns_nothing_begins_no_flow(broker):
    confirm(an_earning_order(quantity=10))
    broker.take()
    carry(broker)

    assert (WatchedFlow.objects.count(), coupons()) == (0, [])


def test_a_flow_whose_hops_are_through_is_completed(broker):
    order = a_flow(broker)
    carry(broker)

    assert watch() == 1
    done = flow()
    assert (done.state, done.missing, done.due_at) == ("completed", "", None)
    assert [(hop["context"], hop["event"]) for hop in done.seen] == [
        ("billing", "orders.OrderConfirmed"),
        ("orders", "billing.CouponGranted"),
    ]
    assert (coupons(), messages(order)) == (["granted"], ["coupon_granted"])


def test_before_the_deadline_nothing_is_done_about_a_missing_hop(broker):
    a_flow(broker)

    assert watch() == 1
    waiting = flow()
    assert (waiting.state, waiting.redrives, waiting.seen) == ("running", 0, [])
    assert waiting.due_at <= waiting.deadline_at
    assert broker.take() == []


# -- a hop is missing ------------------------------------------------------------------------------


def test_an_event_that_was_dropped_is_delivered_again(broker):
    order = a_flow(broker)
    publish_all()
    assert broker.take(), "and dropped"

    watch(overdue=True)

    [delivery] = broker.sent
    assert delivery.args == ("orders", "billing", [str(flow().event_id)])
    named = flow()
    assert named.redrives == 1
    assert named.missing.startswith(
        "hop 1 of 2: billing has not handled orders.OrderConfirmed; it could since "
    )
    carry(broker)
    watch()
    assert (flow().state, flow().missing) == ("completed", "")
    assert (coupons(), messages(order)) == (["granted"], ["coupon_granted"])


def test_the_second_hop_is_named_when_it_is_the_one_that_is_missing(broker):
    order = a_flow(broker)
    publish_all()
    for message in broker.take():  # and nobody answers the ring of what is told then
        broker.run_chain(message)
    publish_all()
    broker.take()  # and with it the ring of the coupon, which would be answered on the spot

    watch(overdue=True)

    [delivery] = broker.take()
    assert delivery.args[:2] == ("billing", "orders")
    assert "hop 2 of 2: orders has not handled billing.CouponGranted" in flow().missing
    give_up(broker)
    assert (flow().state, flow().undone, coupons()) == ("compensated", [WITHDRAW], ["withdrawn"])
    assert messages(order) == []


@pytest.fixture
def poisoned(monkeypatch):
    """Nobody can grant a coupon until the list is emptied."""
    why = ["the coupons are out"]
    grants = coupon_services.grant

    def grant(order):
        if why:
            raise RuntimeError(why[0])
        return grants(order)

    monkeypatch.setattr(coupon_services, "grant", grant)
    return why


def test_a_hop_whose_handler_fails_is_named_with_its_error_and_given_up(broker, poisoned):
    order = a_flow(broker)
    carry(broker)

    watch(overdue=True)
    assert "its handler failed 1 times with: RuntimeError: the coupons are out" in flow().missing
    give_up(broker)

    assert (flow().state, flow().redrives) == ("compensated", REWARD.redrives)
    assert (coupons(), messages(order)) == (["withdrawn"], [])


def test_a_hop_that_comes_after_the_compensation_finds_the_door_shut(broker, poisoned):
    order = a_flow(broker)
    carry(broker)
    give_up(broker)
    poisoned.clear()
    grow_old()

    assert dead_letters.retry_due() == 1
    carry(broker)

    assert DeadLetter.objects.filter(resolved_at=None).count() == 0
    assert (coupons(), messages(order)) == (["withdrawn"], [])
    assert (flow().state, watch()) == ("compensated", 0)
    gap = missing(look(flow(), REWARD))
    assert (
        gap.why() == "billing has handled orders.OrderConfirmed and told no billing.CouponGranted"
    )


def test_a_customer_who_was_told_hears_of_the_withdrawal(broker):
    order = a_flow(broker)
    carry(broker)
    assert operating.compensate(flow().id, by="alice", reason="a mistake") is True

    watch()
    carry(broker)

    assert (flow().state, coupons()) == ("compensated", ["withdrawn"])
    assert messages(order) == ["coupon_granted", "coupon_withdrawn"]


def test_an_event_that_an_operator_discarded_is_not_taken_for_handled(broker, poisoned):
    from sagas.outbox.discarding import discard

    a_flow(broker)
    carry(broker)
    discard(DeadLetter.objects.get().id, by="alice", reason="no coupon for this one")

    gap = missing(look(flow(), REWARD))

    assert (gap.number, gap.is_discarded, gap.can_be_redriven) == (0, True, False)
    watch(overdue=True)
    assert (flow().state, flow().redrives) == ("compensated", 0)


def test_a_last_hop_whose_event_was_discarded_is_missing_although_its_inbox_has_it(
    broker, monkeypatch
):
    from orders import notifications
    from sagas.outbox.discarding import discard

    def fail(*_, **__):
        raise RuntimeError("no paper")

    a_flow(broker)
    with monkeypatch.context() as broken:
        broken.setattr(notifications, "tell", fail)
        carry(broker)
    discard(DeadLetter.objects.get().id, by="alice", reason="the customer is gone")

    watch(overdue=True)

    assert "orders went past billing.CouponGranted, which an operator discarded" in flow().missing
    assert (flow().state, coupons()) == ("compensated", ["withdrawn"])


# -- what can be pressed ---------------------------------------------------------------------------


@pytest.fixture
def no_undo(monkeypatch):
    """The same flow, of which nothing can be taken back."""
    bare = Choreography(
        name=REWARD.name,
        begins_with=REWARD.begins_with,
        when=REWARD.when,
        hops=(Hop(context="billing", tells="billing.CouponGranted"), Hop(context="orders")),
        within=REWARD.within,
        redrives=1,
    )
    monkeypatch.setitem(registered.FLOWS, REWARD.name, bare)
    return bare


def test_a_flow_that_cannot_be_undone_waits_for_an_operator(broker, no_undo):
    order = a_flow(broker)
    publish_all()
    broker.take()
    watch(overdue=True)
    broker.take()
    watch(overdue=True)

    parked = flow()
    assert parked.parked_reason.startswith("hop 1 of 2: billing has not handled")
    assert (parked.due_at, watch()) == (None, 0)
    assert "Resume delivers the missing event again" in next_words(
        parked, no_undo, missing(look(parked, no_undo))
    )
    assert operating.compensate(parked.id, by="alice", reason="undo it") is False

    assert operating.resume(parked.id, by="alice", reason="the broker is back") is True
    watch()
    carry(broker)
    watch()
    assert (flow().state, messages(order)) == ("completed", ["coupon_granted"])
    acts = OperatorAction.objects.order_by("id").values_list("action", "outcome")
    assert list(acts) == [("compensate", "refused"), ("resume", "done")]


def parked_at_its_second_hop(broker):
    """A flow whose last hop has not heard its event; it does so when all is carried."""
    a_flow(broker)
    publish_all()
    [grant] = [one for one in broker.take() if "billing" in one.args[1:2]]
    broker.run_chain(grant)
    for _ in range(2):
        watch(overdue=True)
        broker.take()
    assert flow().parked_reason.startswith("hop 2 of 2: orders has not handled")
    carry(broker)


def months_go_by(broker, *, settled=True):
    for _ in range(2 if settled else 0):
        for name in ("billing", "orders"):
            rows(f"UPDATE {name}_outbox SET published_at = published_at - interval '90 days'")
        republish()
        broker.drain()
    for name in ("billing", "orders"):
        rows(f"UPDATE {name}_inbox SET applied_at = applied_at - interval '90 days'")
        rows(f"UPDATE {name}_outbox SET settled_at = settled_at - interval '90 days'")
    prune()


def resumed():
    operating.resume(flow().id, by="alice", reason="all is mended")
    watch(overdue=True)
    return flow()


@pytest.mark.parametrize("settled", [True, False], ids=["pruned", "kept for somebody else"])
def test_a_parked_flow_whose_hops_are_all_through_is_finished_at_its_resume_also_after_months(
    broker, no_undo, settings, settled
):
    parked_at_its_second_hop(broker)
    if not settled:  # then the outbox rows stay, and are as old
        settings.SAGAS = {**settings.SAGAS, "RETENTION_DAYS": 0}
    months_go_by(broker, settled=settled)

    assert [one.applied_at for one in look(flow(), no_undo)] == [None, None]
    assert Outbox.objects.filter(id=flow().event_id).exists() is not settled
    assert (resumed().state, flow().parked_reason) == ("completed", "")
    assert [hop["context"] for hop in flow().seen] == ["billing", "orders"]


def test_what_a_consumer_of_now_never_heard_is_missing_also_after_months(
    broker, no_undo, monkeypatch
):
    parked_at_its_second_hop(broker)
    months_go_by(broker)
    monkeypatch.setattr(told.starts, "border_of", lambda *_: 2**62)

    assert resumed().missing.startswith("hop 1 of 2: billing has not handled")


def test_a_young_event_that_a_position_has_passed_is_missing_without_its_inbox_row(broker, no_undo):
    parked_at_its_second_hop(broker)
    rows("DELETE FROM billing_inbox")

    assert resumed().missing.startswith("hop 1 of 2: billing has not handled")


def test_a_parked_flow_can_be_closed_and_never_moves_again(broker, no_undo):
    a_flow(broker)
    watch(overdue=True)
    watch(overdue=True)

    assert operating.close(flow().id, by="alice", reason="I wrote to them") is True
    assert operating.close(flow().id, by="bob", reason="me too") is False
    assert operating.resume(flow().id, by="bob", reason="on") is False
    assert (flow().state, watch(overdue=True)) == ("closed", 0)


def test_an_act_without_a_reason_is_refused(broker):
    a_flow(broker)

    with pytest.raises(ReasonMissing):
        operating.compensate(flow().id, by="alice", reason=" ")
    assert flow().state == "running"


def test_an_undo_that_fails_is_tried_again_and_then_waits_for_an_operator(
    broker, monkeypatch, settings
):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 2}
    a_flow(broker)
    operating.compensate(flow().id, by="alice", reason="a mistake")

    def fail(_):
        raise RuntimeError("the books are closed")

    with monkeypatch.context() as broken:
        broken.setattr(coupon_services, "_write", fail)
        broken.setattr(coupon_services, "Coupon", None)
        watch()
        assert (flow().attempts, flow().state, flow().parked_at) == (1, "compensating", None)
        watch()
    assert "could not take its hop back, attempt 2" in flow().parked_reason

    operating.resume(flow().id, by="alice", reason="they are open")
    watch()
    assert (flow().state, coupons()) == ("compensated", ["withdrawn"])


@dataclass(frozen=True, kw_only=True, slots=True)
class AnyOrder:
    order_id: UUID


def undone_by(monkeypatch, undo, last=None):
    """The reward, whose first hop, and perhaps the last, is taken back in another way."""
    grants = Hop(context="billing", tells="billing.CouponGranted", undo=undo)
    hops = (grants, Hop(context="orders", undo=last))
    monkeypatch.setitem(registered.FLOWS, REWARD.name, replace(REWARD, hops=hops))


def test_an_undo_that_fails_at_its_commit_waits_for_an_operator_after_as_many_attempts(
    broker, monkeypatch, settings
):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 2}
    a_flow(broker)
    rows("CREATE TEMP TABLE undo_parent (id int PRIMARY KEY)")
    rows(
        "CREATE TEMP TABLE undo_child (id int REFERENCES undo_parent DEFERRABLE INITIALLY DEFERRED)"
    )
    rows("GRANT ALL ON undo_child TO PUBLIC")

    def take_back(_order: AnyOrder) -> None:
        with connection.cursor() as cursor:  # as every foreign key of Django: looked at at the end
            cursor.execute("INSERT INTO undo_child VALUES (1)")

    undone_by(monkeypatch, take_back)
    operating.compensate(flow().id, by="alice", reason="a mistake")
    attempts = []
    for _ in range(3):
        watch()
        attempts.append(flow().attempts)

    assert "attempt 2: " in flow().parked_reason
    assert "violates foreign key" in flow().parked_reason
    assert (attempts, flow().undone) == ([1, 2, 2], [])


def test_an_undo_that_ends_its_process_waits_for_an_operator_after_as_many_attempts(
    broker, monkeypatch, settings
):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 2}
    a_flow(broker)
    killed = []

    def take_back(order: AnyOrder) -> None:
        killed.append(order)
        raise Died

    undone_by(monkeypatch, take_back)
    operating.compensate(flow().id, by="alice", reason="a mistake")
    for _ in range(4):
        with suppress(Died):
            watch()

    assert len(killed) == 2
    assert flow().parked_reason.endswith("its process ended, or froze, in attempt 2")
    operating.resume(flow().id, by="alice", reason="it has more memory")
    with pytest.raises(Died):
        watch()


def test_attempts_are_those_at_the_undo_that_is_next(broker, monkeypatch, settings):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 3}
    a_flow(broker)
    fails, died = ["once"], []

    def write(_order: AnyOrder) -> None:
        if fails:
            raise RuntimeError(fails.pop())

    def take_back(order: AnyOrder) -> None:
        died.append(order)
        raise Died

    undone_by(monkeypatch, take_back, last=write)
    operating.compensate(flow().id, by="alice", reason="a mistake")
    watch()
    assert (flow().attempts, flow().undone) == (1, [])
    for _ in range(4):
        with suppress(Died):
            watch()

    assert (len(died), flow().parked_at is not None) == (3, True)


@pytest.fixture
def half_undone(broker, monkeypatch, settings):
    """A flow that is parked between its two undos; what they have done is told."""
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    a_flow(broker)
    undone, closed = [], ["the books are closed"]

    def give_back(_order: AnyOrder) -> None:
        if closed:
            raise RuntimeError(closed.pop())
        undone.append("gave back")

    def write(_order: AnyOrder) -> None:
        undone.append("wrote")

    undone_by(monkeypatch, give_back, last=write)
    operating.compensate(flow().id, by="alice", reason="a mistake")
    watch()
    assert (undone, flow().parked_at is not None) == (["wrote"], True)
    return undone


def test_a_flow_that_is_parked_half_undone_is_undone_to_its_end_by_a_release_with_one_more_hop(
    half_undone, monkeypatch
):
    def unpack(_order: AnyOrder) -> None:
        half_undone.append("unpacked")

    flows = registered.FLOWS
    more = (Hop(context="orders", tells="orders.OrderPlaced", undo=unpack),)
    longer = replace(flows[REWARD.name], hops=(*more, *flows[REWARD.name].hops))
    monkeypatch.setitem(flows, REWARD.name, longer)
    operating.resume(flow().id, by="alice", reason="they are open")
    watch()

    assert (flow().state, half_undone) == ("compensated", ["wrote", "gave back", "unpacked"])


def test_what_a_release_before_the_names_has_undone_is_not_undone_again(half_undone):
    WatchedFlow.objects.update(undone=[1])
    operating.resume(flow().id, by="alice", reason="they are open")
    watch()

    assert (flow().state, half_undone) == ("compensated", ["wrote", "gave back"])


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmedLater:
    """What version 2 says: what was called the total is the amount."""

    order_id: UUID
    amount: int


@pytest.fixture
def version_2(monkeypatch):
    """The release of tomorrow, which tells version 2; what its undo has taken back."""
    undone = []

    def take_back(order: ConfirmedLater) -> None:
        undone.append(order.amount)

    def begin():
        monkeypatch.setattr(upcasting, "UPCASTERS", {})
        upcasts("orders.OrderConfirmed", 1)(
            lambda old: {"order_id": old["order_id"], "amount": old["total"]}
        )
        monkeypatch.setattr(told, "emitted", lambda: {("orders.OrderConfirmed", 2): None})
        undone_by(monkeypatch, take_back)
        return undone

    return begin


def given_up():
    assert operating.compensate(flow().id, by="alice", reason="a mistake")
    watch()
    return flow()


def test_a_flow_that_began_with_an_older_version_is_undone_by_a_release_that_reads_the_next(
    broker, version_2
):
    a_flow(broker)
    undone = version_2()

    assert given_up().state == "compensated"
    assert undone == [12_500]


@pytest.mark.colocated
def test_a_flow_whose_first_event_is_in_the_history_alone_is_undone(broker, version_2):
    a_flow(broker)
    carry(broker)
    rows("DELETE FROM orders_outbox")
    undone = version_2()

    assert given_up().state == "compensated"
    assert undone == [12_500]


def test_a_flow_that_began_with_a_newer_version_is_left_to_a_release_that_reads_it(
    broker, monkeypatch
):
    a_flow(broker)
    with monkeypatch.context() as older:
        older.setattr(told, "emitted", lambda: {("orders.OrderConfirmed", 0): None})
        assert given_up().state == "compensating"
        assert "OrderConfirmed was told in version 1, and is version 0 here" in flow().missing
        for _ in range(int(conf.MAX_ATTEMPTS) + 1):
            watch(overdue=True)
        assert (flow().parked_at, flow().attempts) == (None, 0), "nobody has tried"

    watch(overdue=True)
    assert flow().state == "compensated"


def test_a_flow_of_whose_event_an_upcaster_is_missing_waits_for_an_operator(
    broker, monkeypatch, settings
):
    """This release is the one that tells the newest version: no other will read it."""
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    a_flow(broker)
    monkeypatch.setattr(told, "emitted", lambda: {("orders.OrderConfirmed", 2): None})

    assert given_up().parked_at is not None
    assert "NoUpcaster: orders.OrderConfirmed: from version 1 to 2" in flow().parked_reason


@pytest.mark.colocated
def test_a_flow_whose_first_event_is_gone_says_so(broker):
    a_flow(broker)
    rows("DELETE FROM orders_outbox")

    assert given_up().state == "compensating"
    assert "is in no outbox and no history" in flow().missing


# -- deaths, duplicates, several at once -----------------------------------------------------------


def dying_at(place):
    died = []

    def die(name, _):
        if name == place and not died:
            died.append(name)
            raise Died(place)

    return failpoints.listening(die)


PLACES = ["watch.claimed", "watch.before_commit", "watch.committed"]


@pytest.mark.parametrize("place", PLACES)
def test_a_watchdog_that_dies_while_it_redrives_is_followed_by_one_that_does(broker, place):
    order = a_flow(broker)
    publish_all()
    broker.take()
    make_due(overdue=True)

    with dying_at(place), pytest.raises(Died):
        watchdog.watch()
    assert broker.take() == []
    watch(overdue=True)
    carry(broker)
    watch()

    assert (flow().state, messages(order)) == ("completed", ["coupon_granted"])


@pytest.mark.parametrize("place", PLACES)
def test_a_watchdog_that_dies_while_it_compensates_is_followed_by_one_that_does(broker, place):
    order = a_flow(broker)
    carry(broker)
    operating.compensate(flow().id, by="alice", reason="a mistake")
    make_due()

    with dying_at(place), pytest.raises(Died):
        watchdog.watch()
    watch()
    carry(broker)

    assert (flow().state, flow().undone, coupons()) == ("compensated", [WITHDRAW], ["withdrawn"])
    assert messages(order) == ["coupon_granted", "coupon_withdrawn"]


def test_a_watchdog_that_dies_between_the_two_commits_of_a_detached_context_undoes_once(
    broker, monkeypatch
):
    from sagas.choreography import undoing

    monkeypatch.setattr(undoing, "is_detached", lambda _: True)
    order = a_flow(broker)
    carry(broker)
    operating.compensate(flow().id, by="alice", reason="a mistake")
    make_due()

    with dying_at("watch.undone"), pytest.raises(Died):
        watchdog.watch()
    assert (flow().state, flow().undone, coupons()) == ("compensating", [], ["withdrawn"])
    watch()
    carry(broker)

    assert (flow().state, flow().undone, coupons()) == ("compensated", [WITHDRAW], ["withdrawn"])
    assert messages(order) == ["coupon_granted", "coupon_withdrawn"]


@pytest.mark.parametrize("place", ["deliver.before_commit", "deliver.committed"])
def test_a_hop_that_dies_at_its_commit_is_carried_on(broker, place):
    order = a_flow(broker)
    publish_all()

    with dying_at(place), pytest.raises(Died):
        broker.drain()
    broker.take()
    watch(overdue=True)
    carry(broker)
    watch(overdue=True)
    carry(broker)
    watch()

    assert (flow().state, coupons(), messages(order)) == (
        "completed",
        ["granted"],
        ["coupon_granted"],
    )


def test_everything_delivered_three_times_is_one_flow_one_coupon_and_one_message(broker):
    order = a_flow(broker)
    for _ in range(3):
        publish_all()
        sent = broker.take()
        for message in sent * 3:
            broker.run_chain(message)
    watch()

    assert (flow().state, coupons(), messages(order)) == (
        "completed",
        ["granted"],
        ["coupon_granted"],
    )


def test_two_watchdogs_at_once_redrive_once(broker):
    a_flow(broker)
    publish_all()
    broker.take()
    make_due(overdue=True)

    together(watchdog.watch, watchdog.watch)

    assert flow().redrives == 1
    assert len(broker.take()) == 1


def test_a_watchdog_that_froze_past_its_lease_changes_nothing(broker):
    a_flow(broker)
    make_due(overdue=True)
    frozen = moves.claim()
    watch(overdue=True)
    broker.take()

    with pytest.raises(Overtaken):
        watchdog.look_after(frozen)
    assert flow().redrives == 1
    assert broker.take() == []


def test_a_look_that_is_under_way_does_not_undo_what_an_operator_decided(broker):
    a_flow(broker)
    make_due(overdue=True)
    under_way = moves.claim()
    operating.compensate(flow().id, by="alice", reason="a mistake")

    with pytest.raises(Overtaken):
        watchdog.look_after(under_way)
    assert (flow().state, flow().redrives) == ("compensating", 0)


def test_a_coupon_that_was_handled_and_told_to_nobody_is_missing(broker, monkeypatch):
    a_flow(broker)
    with monkeypatch.context() as silent:
        silent.setattr(coupon_services, "grant", lambda _: False)
        publish_all()
        broker.drain()

    watch(overdue=True)

    assert "and told no billing.CouponGranted" in flow().missing
    assert (flow().state, flow().redrives) == ("compensated", 0)


def test_a_flow_that_is_parked_or_over_is_not_claimed(broker, no_undo):
    a_flow(broker)
    watch(overdue=True)
    watch(overdue=True)
    assert flow().parked_at is not None
    WatchedFlow.objects.update(due_at=flow().opened_at)
    assert moves.claim() is None
    operating.close(flow().id, by="alice", reason="by hand")

    assert moves.claim() is None


def test_a_flow_that_is_claimed_is_nobody_elses_for_a_lease(broker):
    a_flow(broker)
    make_due()

    assert moves.claim() is not None
    assert moves.claim() is None


def test_what_this_release_does_not_declare_is_left_to_one_that_does(broker, monkeypatch):
    a_flow(broker)
    monkeypatch.delitem(registered.FLOWS, REWARD.name)
    make_due(overdue=True)

    assert watchdog.watch() == 0
    assert flow().redrives == 0


def test_a_deadline_passes_with_the_business_clock(broker):
    a_flow(broker)
    clock.travel(REWARD.within * 2)

    assert watchdog.watch() == 1
    assert flow().redrives == 1


@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "behind"])
def test_whoever_opens_a_flow_with_a_wrong_clock_gives_it_its_time_all_the_same(
    broker, monkeypatch, off
):
    right = clock.real
    with monkeypatch.context() as wrong:
        wrong.setattr(clock, "real", lambda: right() + off)
        a_flow(broker)

    [(left,)] = rows("SELECT deadline_at - sagas.now() FROM sagas_watchedflow")
    assert REWARD.within - timedelta(minutes=5) < left <= REWARD.within


@pytest.mark.parametrize(
    ("off", "left", "redriven"),
    [(timedelta(minutes=10), 300, 0), (timedelta(minutes=-10), -60, 1)],
    ids=["ahead", "behind"],
)
def test_a_watchdog_whose_clock_is_wrong_tells_by_the_databases_whether_a_deadline_is_over(
    broker, monkeypatch, off, left, redriven
):
    a_flow(broker)
    make_due()
    rows(f"UPDATE sagas_watchedflow SET deadline_at = sagas.now() + make_interval(secs => {left})")
    right = clock.real
    monkeypatch.setattr(clock, "real", lambda: right() + off)

    assert watchdog.watch() == 1
    assert flow().redrives == redriven
    [(wait,)] = rows("SELECT due_at - clock_timestamp() FROM sagas_watchedflow")
    assert timedelta(0) < wait <= (REWARD.patience if redriven else timedelta(seconds=left))

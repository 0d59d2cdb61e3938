"""A dead letter of a context with its own database: two transactions, and a death between them."""

import pytest

from sagas.failpoints import FailpointHit
from sagas.models import DeadLetter, OperatorAction
from sagas.outbox import discarding
from sagas.outbox.delivery import deliver
from sagas.projections.letters import letters_of
from tests.concurrency.sagas import test_detached
from tests.integration.sagas.news import Failing, a_teller, inbox, listen, position, tell
from tests.together import together

detached = test_detached.detached
pytestmark = pytest.mark.usefixtures("detached", "broker", "nobody_listens")


@pytest.fixture
def letter(broker, detached, nobody_listens, settings):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    listen(act=Failing(a=9))
    teller = a_teller()
    [event_id] = tell(teller, "a")
    deliver("orders", "billing", [event_id])
    return teller, DeadLetter.objects.get()


def discard(key, by="alice"):
    return discarding.discard(key, by=by, reason="a test order")


def test_one_who_dies_in_the_middle_leaves_a_letter_that_can_be_discarded_again(
    letter, monkeypatch
):
    teller, found = letter
    hits = []

    def failpoint(name, at=""):
        hits.append(name)
        if len(hits) == 2:
            raise FailpointHit(name)

    monkeypatch.setattr(discarding, "failpoint", failpoint)
    with pytest.raises(FailpointHit):
        discard(found.id)
    found.refresh_from_db()
    assert (position(teller), found.resolved_at) == (1, None)
    assert OperatorAction.objects.count() == 0

    assert discard(found.id) is True
    found.refresh_from_db()
    assert found.resolved_at is not None
    assert (position(teller), inbox()) == (1, [found.event_id])
    assert OperatorAction.objects.get().outcome == "done"


def test_a_letter_that_a_delivery_closes_in_the_middle_is_discarded_all_the_same(
    letter, monkeypatch
):
    _, found = letter
    hits = []

    def failpoint(name, at=""):
        hits.append(name)
        if len(hits) == 2:
            deliver("orders", "billing", [str(found.event_id)])

    monkeypatch.setattr(discarding, "failpoint", failpoint)
    assert discard(found.id) is True
    assert OperatorAction.objects.get().outcome == "done"
    assert not discard(found.id, "bob")
    assert found.event_id in letters_of("billing").discarded


def test_what_died_in_the_middle_and_was_closed_by_a_delivery_counts_as_discarded(
    letter, monkeypatch
):
    _, found = letter

    def dying(*_, **__):
        raise FailpointHit("act.before_commit")

    monkeypatch.setattr(discarding, "_close", dying)
    with pytest.raises(FailpointHit):
        discard(found.id)
    assert letters_of("billing").discarded == {found.event_id}
    deliver("orders", "billing", [str(found.event_id)])
    found.refresh_from_db()
    assert found.resolved_at is not None
    assert letters_of("billing").discarded == {found.event_id}


def test_of_two_who_discard_at_once_one_does(letter):
    _, found = letter

    answers = together(lambda: discard(found.id, "alice"), lambda: discard(found.id, "bob"))

    assert sorted(answers) == [False, True]
    assert sorted(OperatorAction.objects.values_list("outcome", flat=True)) == ["done", "refused"]

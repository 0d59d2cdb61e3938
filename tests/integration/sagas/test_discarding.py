"""What an operator's discard looks at before it goes past an event."""

from uuid import UUID

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from sagas.admin.dead_letters import DiscardDeadLetter
from sagas.models import DeadLetter, OperatorAction
from sagas.outbox import dead_letters, discarding, relay, subscriptions
from sagas.outbox.delivery import deliver
from sagas.outbox.discarding import discard
from sagas.outbox.starts import begin_new
from tests.databases import rows
from tests.integration.sagas.news import Told, ToldSeen, a_teller, listen, position, tell


@pytest.fixture
def first_is_poison(broker, nobody_listens):
    """A context that began with now, and cannot read the first event after its border."""

    def handler(_):
        raise KeyError("poison")

    teller = a_teller()
    tell(teller, "before")
    relay.relay()
    subscriptions.subscribe(
        subscriptions.Subscription(
            event=Told.name,
            version=1,
            context="billing",
            payload=ToldSeen,
            handler=handler,
            start="now",
        )
    )
    begin_new()
    [event_id] = tell(teller, "poison")
    deliver("orders", "billing", [event_id])
    [letter] = DeadLetter.objects.all()
    assert (letter.sequence, position(teller)) == (2, 0)
    return letter, teller


def test_the_first_event_after_a_border_can_be_discarded_in_the_admin(first_is_poison):
    letter, _ = first_is_poison
    assert DiscardDeadLetter().refusal(letter) is None


def test_the_first_event_after_a_border_can_be_discarded_by_terminal(first_is_poison):
    letter, teller = first_is_poison
    call_command("deadletters", "discard", str(letter.id), "--by=a", "--reason=b", "--yes")
    assert position(teller) == 2


def test_a_letter_that_is_settled_while_it_is_discarded_is_refused_and_not_an_error(
    broker, nobody_listens, monkeypatch
):
    """Of an attempt under way: without a reason it is deleted when it has gone well."""
    listen("billing")
    teller = a_teller()
    [event_id] = tell(teller, "a")
    rows("UPDATE orders_outbox SET published_at = now() - interval '1 hour'")
    deliver("orders", "billing", [event_id])
    letter = DeadLetter.objects.create(
        context="billing",
        producer="orders",
        event_id=UUID(event_id),
        event_name=Told.name,
        aggregate_type=teller.aggregate_type,
        aggregate_id=teller.id,
        sequence=1,
        attempts=1,
        next_at=Now(),
    )
    detached = discarding.is_detached

    def is_detached(context):
        dead_letters.settle("billing", [letter.event_id])  # the attempt ends just now
        return detached(context)

    monkeypatch.setattr(discarding, "is_detached", is_detached)
    assert not discard(letter.id, by="a", reason="b")
    assert OperatorAction.objects.get().outcome == "refused"

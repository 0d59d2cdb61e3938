"""All at once: writers of the same aggregates, relays, doubles, losses and a poisoned event."""

import random
import threading

import pytest

from sagas.models import DeadLetter
from sagas.outbox import dead_letters
from sagas.outbox.relay import relay
from sagas.outbox.republish import republish
from tests.integration.sagas import trial
from tests.integration.sagas.news import Failing, a_teller, grow_old, listen, outbox, position, tell
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("nobody_listens")

WRITERS, EACH = 3, 6


def heard_of(teller):
    """What was applied of an aggregate, in the order in which it was."""
    return [
        int(what.rpartition("#")[2])
        for what in trial.effects()
        if what.startswith("billing:") and str(teller.id) in what
    ]


class Careless:
    """A broker that loses a fifth of its messages, and brings a third twice, in any order."""

    def __init__(self, broker, chance):
        self.broker = broker
        self.chance = chance
        self.lock = threading.Lock()

    def bring(self):
        with self.lock:
            messages = self.broker.take()
            kept = [m for m in messages if self.chance.random() > 0.2]
            kept += [m for m in kept if self.chance.random() < 0.33]
            self.chance.shuffle(kept)
        for message in kept:
            self.broker.run_chain(message)


def writing(number, tellers, all_have_written, over):
    def write():
        for turn in range(EACH):
            for teller in tellers:
                tell(teller, f"{teller.id}/{number}/{turn}")
        if all_have_written.wait(60) == 0:
            over.set()

    return write


def until(over, *works):
    def work():
        while not over.is_set():
            for each in works:
                each()

    return work


def write_and_bring(broker, tellers, seed):
    """Let writers, relays and consumers run at once until all is written."""
    careless = Careless(broker, random.Random(seed))
    written, over = threading.Barrier(WRITERS), threading.Event()
    writers = [writing(number, tellers, written, over) for number in range(WRITERS)]
    relays = [until(over, lambda: relay("orders"), relay)] * 2
    consumers = [until(over, careless.bring)] * 2

    assert raised(together(*writers, *relays, *consumers)) == []
    return careless


def come_to_rest(careless, tellers):
    for _ in range(40):
        grow_old()
        relay()
        republish()
        careless.bring()
        last = WRITERS * EACH
        if all(position(t) == last for t in tellers):
            return
    raise AssertionError([position(t) for t in tellers])


@pytest.mark.parametrize("seed", range(2))
def test_whatever_comes_twice_late_or_never_each_event_is_applied_once_in_the_order_of_its_commit(
    broker, settings, seed
):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 5, "RELAY_FRESH": 2, "DELIVERY_SIZE": 2}
    listen()
    tellers = [a_teller() for _ in range(3)]

    come_to_rest(write_and_bring(broker, tellers, seed), tellers)

    for teller in tellers:
        assert heard_of(teller) == list(range(1, WRITERS * EACH + 1))


def test_beside_a_poisoned_event_the_other_aggregates_come_to_their_end(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 2, "RELAY_BATCH": 5}
    ill, *well = [a_teller() for _ in range(3)]
    poison = Failing(**{f"{ill.id}/1/2": 99})
    listen(act=poison)

    careless = write_and_bring(broker, [ill, *well], 7)
    come_to_rest(careless, well)

    [letter] = DeadLetter.objects.filter(resolved_at=None)
    assert letter.aggregate_id == ill.id
    assert heard_of(ill) == list(range(1, letter.sequence)), "it stands in front of the letter"
    for teller in well:
        assert heard_of(teller) == list(range(1, WRITERS * EACH + 1))

    poison.times.clear()
    for _ in range(3):
        if DeadLetter.objects.filter(id=letter.id, resolved_at=None, next_at=None).exists():
            dead_letters.resend(letter.id, by="alice", reason="mended")
        come_to_rest(careless, [ill])
    assert heard_of(ill) == list(range(1, WRITERS * EACH + 1))


def test_a_hole_that_a_loss_has_made_is_found_by_comparing_and_filled(broker):
    listen()
    teller = a_teller()
    for text in "abc":
        tell(teller, text)
        relay()
    messages = [m for m in broker.take() if m.task == "sagas.deliver"]
    assert len(messages) == 3  # and all of them are lost

    grow_old()
    assert republish() == 3
    broker.drain()
    assert trial.effects() == ["billing:a#1", "billing:b#2", "billing:c#3"]
    assert republish() == 0
    assert outbox().filter(settled_at=None).count() == 0

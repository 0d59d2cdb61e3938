from itertools import product

import pytest

from payments.states import (
    LIVE,
    OPERATION_TRANSITIONS,
    PAYMENT_TRANSITIONS,
    OperationStatus,
    PaymentStatus,
    sources_of,
)


def test_every_state_is_in_its_table():
    assert set(PAYMENT_TRANSITIONS) == set(PaymentStatus)
    assert set(OPERATION_TRANSITIONS) == set(OperationStatus)


@pytest.mark.parametrize("final", ["captured", "failed", "voided"])
def test_nothing_follows_an_end(final):
    assert PAYMENT_TRANSITIONS[PaymentStatus(final)] == frozenset()


def test_the_ways_into_each_state():
    ways = {
        target.value: [source.value for source in sources_of(target)] for target in PaymentStatus
    }

    assert ways == {
        "created": [],
        "authorized": ["created"],
        "captured": ["authorized"],
        "failed": ["created"],
        "voided": ["created", "authorized"],
    }


def test_a_payment_that_does_not_count_never_counts_again():
    dead = set(PaymentStatus) - set(LIVE)

    assert not [
        (source, target)
        for source, target in product(dead, LIVE)
        if target in PAYMENT_TRANSITIONS[source]
    ]

import pytest

from orders.progress import IN_DOUBT, LONGER, PARKED, Standing, progress_of, reason_text
from orders.sagas.checkout import CHECKOUT
from orders.states import OrderStatus


def pending(**facts):
    return progress_of(OrderStatus.PENDING, "", Standing(**facts))


@pytest.mark.parametrize("step", [step.name for step in CHECKOUT.steps])
def test_every_step_of_the_checkout_has_words_of_its_own_kind(step):
    said = pending(step=step).text

    assert step == "place_order" or said != pending(step="place_order").text


def test_a_waiting_order_says_what_it_waits_for():
    assert pending(step="reserve_stock").text == "We are reserving your items."
    assert pending(step="reserve_stock").can_cancel


def test_an_order_past_the_point_of_no_return_cannot_be_canceled():
    assert not pending(step="issue_invoice", is_past_return=True).can_cancel


def test_a_retry_tells_that_it_takes_longer():
    said = pending(step="issue_invoice", is_past_return=True, is_retrying=True).text

    assert said == f"Your payment is in. We are writing your invoice. {LONGER}"


def test_an_unknown_answer_promises_that_nobody_is_charged_twice():
    said = pending(step="capture_payment", is_past_return=True, is_retrying=True, is_in_doubt=True)

    assert said.text == IN_DOUBT
    assert "not be charged twice" in IN_DOUBT


def test_a_parked_order_says_that_somebody_looks():
    assert pending(step="capture_payment", is_parked=True).text.endswith(PARKED)


def test_a_compensating_order_can_no_longer_be_canceled():
    said = pending(step="reserve_stock", is_compensating=True)

    assert said.text.startswith("We are stopping this order.")
    assert not said.can_cancel


@pytest.mark.parametrize("status", [OrderStatus.FAILED, OrderStatus.CANCELED])
def test_an_order_that_came_to_nothing_says_that_nothing_was_charged(status):
    for reason in ("out_of_stock", "hold_gone", "deadline", "some code nobody has seen"):
        said = progress_of(status, reason, None)

        assert said.is_final
        assert "You were not charged." in said.text


def test_an_order_that_has_not_failed_has_no_reason():
    assert reason_text(OrderStatus.CONFIRMED, "") == ""

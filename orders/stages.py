"""The checkout as a short list a customer can follow: what is done, what is going on, what is left.

Made from the saga's own steps; technical ones are folded into the one the customer cares about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orders.progress import Standing
from orders.states import OrderStatus


class StageState(StrEnum):
    """How one stage of the list stands."""

    DONE = "done"
    CURRENT = "current"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One line of the list."""

    label: str
    state: StageState


@dataclass(frozen=True, kw_only=True, slots=True)
class _Words:
    steps: tuple[str, ...]
    waiting: str
    current: str
    done: str
    stopped: str


_ROAD: Sequence[_Words] = (
    _Words(
        steps=("place_order",),
        waiting="Order received",
        current="Receiving your order",
        done="Order received",
        stopped="Order not received",
    ),
    _Words(
        steps=("reserve_stock",),
        waiting="Items set aside",
        current="Setting your items aside",
        done="Items set aside",
        stopped="Items not available",
    ),
    _Words(
        steps=("prepare_payment", "authorize_payment"),
        waiting="Bank agrees",
        current="Asking your bank",
        done="Bank agreed",
        stopped="Bank said no",
    ),
    _Words(
        steps=("capture_payment",),
        waiting="Payment taken",
        current="Taking the payment",
        done="Payment taken",
        stopped="Payment not taken",
    ),
    _Words(
        steps=("issue_invoice",),
        waiting="Invoice written",
        current="Writing your invoice",
        done="Invoice written",
        stopped="Invoice not written",
    ),
    _Words(
        steps=("confirm_order", "notify_customer"),
        waiting="Order confirmed",
        current="Confirming your order",
        done="Order confirmed",
        stopped="Order not confirmed",
    ),
)
_STOPPED_AT: Mapping[str, int] = {
    "out_of_stock": 1,
    "card_declined": 2,
    "generic_decline": 2,
    "insufficient_funds": 2,
}


def stages_of(status: OrderStatus, reason: str, standing: Standing | None) -> tuple[Stage, ...]:
    """Return the list for an order.

    :param standing: of the order's checkout; None when it is not known
    """
    if status is OrderStatus.CONFIRMED:
        return _road(len(_ROAD))
    if status is OrderStatus.CANCELED:
        return _ended("Order canceled")
    if status is OrderStatus.FAILED:
        stop = _STOPPED_AT.get(reason)
        return _ended("Order stopped") if stop is None else _road(stop, stopped=True)
    if standing is not None and standing.is_compensating:
        return (
            _stage(_ROAD[0], StageState.DONE),
            Stage(label="Stopping the order and giving everything back", state=StageState.CURRENT),
            Stage(label="Order closed, nothing charged", state=StageState.WAITING),
        )
    return _road(_position(standing))


def _position(standing: Standing | None) -> int:
    step = standing.step if standing is not None else ""
    return next((index for index, words in enumerate(_ROAD) if step in words.steps), 1)


def _ended(label: str) -> tuple[Stage, ...]:
    return (
        _stage(_ROAD[0], StageState.DONE),
        Stage(label=label, state=StageState.STOPPED),
    )


def _road(position: int, *, stopped: bool = False) -> tuple[Stage, ...]:
    here = StageState.STOPPED if stopped else StageState.CURRENT
    road = _ROAD[: position + 1] if stopped else _ROAD
    return tuple(
        _stage(
            words,
            StageState.DONE
            if index < position
            else here
            if index == position
            else StageState.WAITING,
        )
        for index, words in enumerate(road)
    )


def _stage(words: _Words, state: StageState) -> Stage:
    return Stage(label=getattr(words, state.value), state=state)

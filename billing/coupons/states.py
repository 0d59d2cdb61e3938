"""The states of a coupon and the moves between them."""

from collections.abc import Mapping
from enum import StrEnum


class CouponState(StrEnum):
    """What a coupon is good for."""

    GRANTED = "granted"
    WITHDRAWN = "withdrawn"


COUPON_TRANSITIONS: Mapping[CouponState, frozenset[CouponState]] = {
    CouponState.GRANTED: frozenset({CouponState.WITHDRAWN}),
    CouponState.WITHDRAWN: frozenset(),
}

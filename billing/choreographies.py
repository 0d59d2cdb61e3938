"""The flows of events that billing declares, so that somebody notices when they stop."""

from datetime import timedelta
from typing import Final

from billing.coupons.services import earns, withdraw
from sagas.api import Choreography, Hop

# Nobody is in the middle: orders tells that an order is confirmed, which it is when its money is
# captured and its invoice written; billing grants a coupon and tells; orders writes the message.
REWARD: Final = Choreography(
    name="billing.reward",
    begins_with="orders.OrderConfirmed",
    when=earns,
    hops=(
        Hop(context="billing", tells="billing.CouponGranted", undo=withdraw),
        Hop(context="orders"),
    ),
    within=timedelta(minutes=10),
)

"""The operators' screen of coupons."""

from typing import ClassVar

from django.contrib import admin

from billing.coupons.models import Coupon
from billing.coupons.states import CouponState
from sagas.admin.choices import one_of
from sagas.admin.display import chip, find_url, instant, link, money
from sagas.admin.records import ReadOnlyAdmin
from sagas.admin.search import findable


@admin.register(Coupon)
class CouponAdmin(ReadOnlyAdmin):
    """Coupons, with the order that earned each."""

    list_display = ("code", "standing", "worth", "order")
    list_filter = (one_of("state", lambda: CouponState),)
    ordering = ("-id",)
    search_fields = ("=code",)
    search_help_text = "Code"
    sortable_by: ClassVar[tuple[str, ...]] = ()
    fields = (
        "code",
        "standing",
        "worth",
        "order",
        instant("granted_at"),
        instant("withdrawn_at"),
        "id",
    )

    @admin.display(description="state")
    def standing(self, coupon: Coupon) -> str:
        """Show the chip."""
        return chip(coupon.state)

    @admin.display(description="worth")
    def worth(self, coupon: Coupon) -> str:
        """Show the amount."""
        return money(coupon.amount, coupon.currency)

    @admin.display(description="order")
    def order(self, coupon: Coupon) -> str:
        """Show the order, as a link to its page."""
        return link(find_url(coupon.order_id), str(coupon.order_id))


findable(Coupon, texts=("code",), about=("order_id", "customer_id"))

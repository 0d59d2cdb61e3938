"""The operators' screens of the stock."""

from typing import ClassVar

from django.contrib import admin
from django.utils.html import format_html_join

from orders.inventory.models import StockLevel, StockMovement, StockReservation
from orders.inventory.states import MovementKind, ReservationState
from sagas.admin.choices import one_of
from sagas.admin.display import find_url, link, link_to, list_of, when
from sagas.admin.records import ReadOnlyAdmin
from sagas.admin.search import as_uuid, findable

LATEST = 50


@admin.register(StockLevel)
class StockLevelAdmin(ReadOnlyAdmin):
    """How much there is of each item."""

    list_display = ("sku", "on_hand", "reserved", "free")
    ordering = ("sku",)
    search_fields = ("sku__startswith",)
    fields = ("sku", "on_hand", "reserved", "free", "latest", "held")

    @admin.display(description="free to sell")
    def free(self, stock: StockLevel) -> int:
        """Show what is not promised to anybody."""
        return stock.on_hand - stock.reserved

    @admin.display(description="latest movements")
    def latest(self, stock: StockLevel) -> str:
        """Show the latest movements, and where the others are."""
        rows = StockMovement.objects.filter(stock=stock).order_by("-id")[:LATEST]
        lines = [
            (row.kind, f"{row.delta:+d}", _reference(row.ref), when(row.created_at)) for row in rows
        ]
        lines.append(
            (
                "",
                "",
                link(list_of("orders_stockmovement", f"stock__id__exact={stock.pk}"), "all"),
                "",
            )
        )
        return format_html_join("", "<div>{} {} {} {}</div>", lines)

    @admin.display(description="held for")
    def held(self, stock: StockLevel) -> str:
        """Show the reservations that are held."""
        rows = StockReservation.objects.filter(stock=stock, state=ReservationState.HELD)
        lines = [
            (row.quantity, link_to("orders_order", row.order_id), when(row.created_at))
            for row in rows.order_by("id")[:LATEST]
        ]
        return format_html_join("", "<div>{} for order {} {}</div>", lines) if lines else "nobody"


def _reference(ref: str) -> str:
    return (
        ref
        if as_uuid(ref.partition(":")[0]) is None
        else link(find_url(ref.partition(":")[0]), ref)
    )


@admin.register(StockMovement)
class StockMovementAdmin(ReadOnlyAdmin):
    """Every change of the quantity on hand."""

    list_display = ("stock_link", "kind", "delta", "reference", "at")
    list_filter = (one_of("kind", lambda: MovementKind),)
    list_select_related = ("stock",)
    ordering = ("-id",)
    search_fields = ("=ref", "=stock__sku")
    search_help_text = "The whole reference or item code"
    sortable_by: ClassVar[tuple[str, ...]] = ("at",)
    fields = ("stock_link", "kind", "delta", "reference", "at")

    @admin.display(description="item")
    def stock_link(self, row: StockMovement) -> str:
        """Show of what."""
        return link_to("orders_stocklevel", row.stock_id, row.stock.sku)

    @admin.display(description="moved by")
    def reference(self, row: StockMovement) -> str:
        """Show what moved it."""
        return _reference(row.ref)

    @admin.display(description="at", ordering="id")
    def at(self, row: StockMovement) -> str:
        """Show when."""
        return when(row.created_at)


findable(StockLevel, ids=(), texts=("sku",))

"""The operators' screens of orders: customers, orders, stock, catalogue and messages."""

from collections.abc import Iterator
from typing import ClassVar

from django.contrib import admin
from django.db.models import Count, Min, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from billing import api as billing
from orders.inventory import admin as inventory
from orders.models import (
    Customer,
    Inbox,
    Notification,
    Order,
    OrderLine,
    Outbox,
    Product,
    Sku,
    StockReservation,
)
from orders.states import OrderStatus
from payments import api as payments
from sagas.admin.choices import one_of
from sagas.admin.display import (
    NOTHING,
    chip,
    instant,
    link,
    link_to,
    list_of,
    money,
    plain_money,
    relative,
    when,
)
from sagas.admin.edits import EditableAdmin
from sagas.admin.messages import InboxAdmin, OutboxAdmin
from sagas.admin.past import past_link
from sagas.admin.records import ReadOnlyAdmin, ReadOnlyInline
from sagas.admin.search import as_uuid, findable
from sagas.admin.story import Passage, Story, source
from sagas.api import clock

__all__ = ["inventory"]

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)
findable(Outbox)


class OrderLines(ReadOnlyInline):
    """What was ordered."""

    model = OrderLine
    fields = ("position", "sku_code", "description", "quantity", "unit_price", "total")
    readonly_fields = ("total",)
    ordering = ("position",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrderLine]:
        """Read the order with its lines, for the currency."""
        return super().get_queryset(request).select_related("order")

    @admin.display(description="line total")
    def total(self, line: OrderLine) -> str:
        """Show the amount."""
        return money(line.line_total, line.order.currency)


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """Orders, with links to all that belongs to them."""

    inlines = (OrderLines,)
    list_display = ("number", "standing", "amount", "customer_link", "placed", "why", "saga")
    list_filter = (one_of("status", lambda: OrderStatus),)
    list_select_related = ("customer",)
    ordering = ("-id",)
    search_fields = ("=number", "=reference")
    search_help_text = "Order number, reference or any id of an order, customer, payment or saga"
    sortable_by: ClassVar[tuple[str, ...]] = ("number",)
    fields = (
        "number",
        "standing",
        "reason",
        "customer_link",
        "amount",
        "saga",
        "payment",
        "invoice",
        "reservations",
        "told",
        "past",
        "reference",
        "business_date",
        instant("placed_at"),
        instant("confirmed_at"),
        instant("closed_at"),
        "id",
    )

    def headline(self, request: HttpRequest) -> str:
        """Return how many orders are pending, and for how long."""
        pending = Order.objects.filter(status=OrderStatus.PENDING)
        found = pending.aggregate(count=Count("id"), oldest=Min("placed_at"))
        if not found["count"]:
            return "No order is pending."
        return (
            f"{found['count']} pending, the oldest placed {relative(found['oldest'], clock.now())}."
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Find by number or reference, else by an id."""
        key = as_uuid(search_term.strip())
        if key is None:
            return super().get_search_results(request, queryset, search_term)
        columns = ("id", "customer_id", "payment_id", "saga_id")
        found = queryset.none()
        for column in columns:
            found |= queryset.filter(**{column: key})
        return found, False

    @admin.display(description="status", ordering="status")
    def standing(self, order: Order) -> str:
        """Show the chip."""
        return chip(order.status)

    @admin.display(description="total", ordering="total")
    def amount(self, order: Order) -> str:
        """Show what is to be paid."""
        return money(order.total, order.currency)

    @admin.display(description="customer")
    def customer_link(self, order: Order) -> str:
        """Show who ordered."""
        return link_to("orders_customer", order.customer_id, order.customer)

    @admin.display(description="placed", ordering="id")
    def placed(self, order: Order) -> str:
        """Show when."""
        return when(order.placed_at)

    @admin.display(description="reason")
    def why(self, order: Order) -> str:
        """Show why it failed or was canceled."""
        return order.reason or NOTHING

    @admin.display(description="checkout")
    def saga(self, order: Order) -> str:
        """Link to the saga that carries it out."""
        return link_to("sagas_sagainstance", order.saga_id, "saga")

    @admin.display(description="payment")
    def payment(self, order: Order) -> str:
        """Link to the payment, and say how it stands."""
        found = payments.payment_for_order(order.id)
        if found is None:
            return "none yet"
        amount = money(found.amount, found.currency)
        return format_html(
            "{} {} {}", chip(found.status), amount, link_to("payments_payment", found.id)
        )

    @admin.display(description="invoice")
    def invoice(self, order: Order) -> str:
        """Link to the invoice, and say how it stands."""
        found = billing.invoice_for_order(order.customer_id, order.id)
        if found is None:
            return "none yet"
        amount = money(found.total, found.currency)
        return format_html(
            "{} {} {}",
            chip(found.status),
            amount,
            link_to("billing_invoice", found.id, found.number),
        )

    @admin.display(description="stock set aside")
    def reservations(self, order: Order) -> str:
        """Show what has become of each line's goods."""
        rows = StockReservation.objects.filter(order_id=order.id).select_related("stock")
        lines = [
            (f"line {row.position}", row.quantity, row.stock.sku, chip(row.state))
            for row in rows.order_by("position")
        ]
        return format_html_join("", "<div>{}: {} of {} {}</div>", lines) if lines else "none"

    @admin.display(description="past")
    def past(self, order: Order) -> str:
        """Link to what was told of it, and what was true at an instant."""
        return past_link(f"{order.aggregate_type}:{order.id}")

    @admin.display(description="customer was told")
    def told(self, order: Order) -> str:
        """Show what the customer has been told."""
        rows = Notification.objects.filter(order=order).order_by("id")
        lines = [(row.subject, when(row.created_at)) for row in rows]
        return format_html_join("", "<div>{} {}</div>", lines) if lines else "nothing yet"


@admin.register(Customer)
class CustomerAdmin(ReadOnlyAdmin):
    """Who orders."""

    list_display = ("name", "email", "currency", "reference", "since")
    ordering = ("-id",)
    search_fields = ("name", "=email", "=reference")
    search_help_text = "Part of the name, the whole e-mail address or reference"
    sortable_by: ClassVar[tuple[str, ...]] = ("name", "email")
    fields = ("name", "email", "currency", "reference", "id", "user_id", "since", "elsewhere")

    @admin.display(description="since", ordering="id")
    def since(self, customer: Customer) -> str:
        """Show since when."""
        return when(customer.created_at)

    @admin.display(description="see also")
    def elsewhere(self, customer: Customer) -> str:
        """Link to what belongs to the customer."""
        links = (
            link(list_of("orders_order", f"q={customer.id}"), "orders"),
            link(list_of("billing_invoice", f"q={customer.id}"), "invoices"),
            link(list_of("payments_payment", f"q={customer.id}"), "payments"),
        )
        return format_html_join(", ", "{}", ((one,) for one in links))


@admin.register(Product)
class ProductAdmin(EditableAdmin):
    """What is shown in the shop."""

    list_display = ("name", "slug", "active")
    list_filter = ("active",)
    ordering = ("name",)
    search_fields = ("name", "slug__startswith")
    shown = ("slug", instant("created_at"))
    editable = ("name", "description", "active")


@admin.register(Sku)
class SkuAdmin(EditableAdmin):
    """What is sold, and for how much."""

    list_display = ("code", "product", "price", "active")
    list_filter = ("active",)
    list_select_related = ("product",)
    ordering = ("code",)
    search_fields = ("code__startswith", "product__name")
    shown = ("code", "product", "currency", "price")
    editable = ("unit_price", "active")

    @admin.display(description="price", ordering="unit_price")
    def price(self, sku: Sku) -> str:
        """Show the price; it may be finer than a minor unit."""
        whole = int(sku.unit_price)
        rest = sku.unit_price - whole
        finer = f" + {rest.normalize()} minor units" if rest else ""
        return plain_money(whole, sku.currency) + finer


findable(Order, texts=("number", "reference"), about=("customer_id", "payment_id", "saga_id"))
findable(Customer, texts=("email", "reference"))


@source("orders.view_notification")
def messages_of(story: Story) -> Iterator[Passage]:
    """Return what the customers were told."""
    told = Notification.objects.filter(order_id__in=story.subjects)
    for message in told:
        yield Passage(
            at=message.created_at,
            kind="message",
            context="orders",
            text=message.subject,
            cause=str(message.order_id),
        )

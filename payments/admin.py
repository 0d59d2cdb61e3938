"""The operators' screens of payments: payments and operations, methods, webhooks, messages."""

from collections.abc import Iterator
from typing import ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join

from payments.models import (
    Inbox,
    Outbox,
    Payment,
    PaymentMethod,
    PaymentOperation,
    WebhookEvent,
    WebhookState,
)
from payments.states import PaymentStatus
from sagas.admin.attention import concern
from sagas.admin.choices import one_of
from sagas.admin.display import chip, code, instant, link_to, list_of, money, short, when
from sagas.admin.messages import InboxAdmin, OutboxAdmin
from sagas.admin.records import ReadOnlyAdmin, ReadOnlyInline
from sagas.admin.search import as_uuid, findable
from sagas.admin.story import Passage, Story, source

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)
findable(Outbox)


class Operations(ReadOnlyInline):
    """The calls that can move money, each committed before it is made."""

    model = PaymentOperation
    fields = (
        "kind",
        "standing",
        "decline_code",
        "key",
        "negatives",
        "inquiries",
        "sent",
        "resolved",
    )
    readonly_fields = fields
    ordering = ("sent_at",)

    @admin.display(description="status")
    def standing(self, row: PaymentOperation) -> str:
        """Show the chip."""
        return chip(row.status)

    @admin.display(description="idempotency key")
    def key(self, row: PaymentOperation) -> str:
        """Show the key that the provider was given."""
        return code(row.idempotency_key)

    @admin.display(description="sent")
    def sent(self, row: PaymentOperation) -> str:
        """Show when it was sent first."""
        return when(row.sent_at)

    @admin.display(description="answered")
    def resolved(self, row: PaymentOperation) -> str:
        """Show when its answer was recorded."""
        return when(row.resolved_at)


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    """Payments, and how much money each has moved."""

    inlines = (Operations,)
    list_display = (
        "short_id",
        "standing",
        "asked",
        "held",
        "taken",
        "let_go",
        "order",
        "begun",
    )
    list_filter = (one_of("status", lambda: PaymentStatus.values),)
    ordering = ("-id",)
    search_fields = ("=provider_ref",)
    search_help_text = "The provider's reference, or any id of a payment, order or customer"
    sortable_by: ClassVar[tuple[str, ...]] = ("begun",)
    fields = (
        "id",
        "standing",
        "order",
        "method",
        "asked",
        "authorized_text",
        "taken",
        "let_go",
        "returned",
        "held",
        "live",
        "provider_ref",
        instant("captured_at"),
        instant("closed_at"),
        "webhooks",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Payment], search_term: str
    ) -> tuple[QuerySet[Payment], bool]:
        """Find by the provider's reference, else by an id."""
        key = as_uuid(search_term.strip())
        if key is None:
            return super().get_search_results(request, queryset, search_term)
        wanted = Q(id=key) | Q(purpose_id=key) | Q(customer_id=key)
        return queryset.filter(wanted), False

    @admin.display(description="payment")
    def short_id(self, payment: Payment) -> str:
        """Show the id by its ends."""
        return short(payment.id)

    @admin.display(description="status", ordering="status")
    def standing(self, payment: Payment) -> str:
        """Show the chip."""
        return chip(payment.status)

    @admin.display(description="order")
    def order(self, payment: Payment) -> str:
        """Link to what is paid, which another context keeps."""
        if payment.purpose != "order":
            return f"{payment.purpose} {payment.purpose_id}"
        return link_to("orders_order", payment.purpose_id, "order")

    @admin.display(description="amount", ordering="amount")
    def asked(self, payment: Payment) -> str:
        """Show what is asked."""
        return money(payment.amount, payment.currency)

    @admin.display(description="authorized")
    def authorized_text(self, payment: Payment) -> str:
        """Show what was held at first."""
        return money(payment.authorized, payment.currency)

    @admin.display(description="captured")
    def taken(self, payment: Payment) -> str:
        """Show what is ours."""
        return money(payment.captured, payment.currency)

    @admin.display(description="voided")
    def let_go(self, payment: Payment) -> str:
        """Show what of the hold was let go."""
        return money(payment.voided, payment.currency)

    @admin.display(description="refunded")
    def returned(self, payment: Payment) -> str:
        """Show what was given back."""
        return money(payment.refunded, payment.currency)

    @admin.display(description="still held")
    def held(self, payment: Payment) -> str:
        """Show what is still held on the card."""
        still = payment.authorized - payment.captured - payment.voided
        return money(still, payment.currency)

    @admin.display(description="begun", ordering="id")
    def begun(self, payment: Payment) -> str:
        """Show when."""
        return when(payment.created_at)

    @admin.display(description="the provider told by itself")
    def webhooks(self, payment: Payment) -> str:
        """Show the provider's webhooks about it."""
        rows = WebhookEvent.objects.filter(payment_id=payment.id).order_by("id")[:50]
        lines = [
            (link_to("payments_webhookevent", row.id, row.type), when(row.received_at))
            for row in rows
        ]
        return format_html_join("", "<div>{} {}</div>", lines) if lines else "nothing"


@admin.register(PaymentMethod)
class PaymentMethodAdmin(ReadOnlyAdmin):
    """Cards, by the provider's names for them."""

    list_display = ("label", "brand", "last4", "kind", "active", "customer")
    ordering = ("-id",)
    search_fields = ("=last4",)
    search_help_text = "Last four digits, or a customer's id"
    sortable_by: ClassVar[tuple[str, ...]] = ()
    fields = ("label", "brand", "last4", "kind", "active", "customer", instant("created_at"), "id")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PaymentMethod], search_term: str
    ) -> tuple[QuerySet[PaymentMethod], bool]:
        """Find by the last digits, else by an id."""
        key = as_uuid(search_term.strip())
        if key is None:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(Q(id=key) | Q(customer_id=key)), False

    @admin.display(description="customer")
    def customer(self, method: PaymentMethod) -> str:
        """Link to whose it is, whom another context keeps."""
        return link_to("orders_customer", method.customer_id)


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyAdmin):
    """What the provider told by itself, as it came."""

    list_display = ("event_ref", "standing", "type", "payment", "provider_ref", "received")
    list_filter = (one_of("state", lambda: [state.value for state in WebhookState]),)
    ordering = ("-id",)
    search_fields = ("=event_ref", "=provider_ref")
    search_help_text = "The provider's name of the event or of the payment"
    sortable_by: ClassVar[tuple[str, ...]] = ("received",)
    fields = ("event_ref", "standing", "type", "payment", "provider_ref", "received", "text")

    @admin.display(description="state", ordering="state")
    def standing(self, event: WebhookEvent) -> str:
        """Show the chip."""
        return chip(event.state)

    @admin.display(description="payment")
    def payment(self, event: WebhookEvent) -> str:
        """Link to the payment it belongs to."""
        return link_to("payments_payment", event.payment_id)

    @admin.display(description="received", ordering="id")
    def received(self, event: WebhookEvent) -> str:
        """Show when."""
        return when(event.received_at)

    @admin.display(description="body")
    def text(self, event: WebhookEvent) -> str:
        """Show the body as it was signed."""
        return code(bytes(event.body).decode(errors="replace"))


findable(Payment, texts=("provider_ref",), about=("purpose_id", "customer_id"))
findable(PaymentMethod)
findable(WebhookEvent, texts=("event_ref",), mentions=("provider_ref",))
concern(
    "webhook that names nothing of ours",
    "webhooks that name nothing of ours",
    count=lambda: WebhookEvent.objects.filter(state=WebhookState.PARKED).count(),
    url=lambda: list_of("payments_webhookevent", "state=parked"),
    permission="payments.view_webhookevent",
    context="payments",
)


@source("payments.view_payment")
def calls_of(story: Story) -> Iterator[Passage]:
    """Return what the provider was asked, and its last answer."""
    operations = PaymentOperation.objects.filter(
        payment__purpose="order", payment__purpose_id__in=story.subjects
    )
    for operation in operations.select_related("payment"):
        said = f"{operation.kind}: {operation.status}"
        yield Passage(
            at=operation.sent_at,
            kind="call",
            context="payments",
            text=f"{said}, under {operation.idempotency_key}",
            url=reverse("admin:payments_payment_change", args=[operation.payment_id]),
            cause=operation.effect_key,
        )

"""The words of `docs/states.md` about states and moves, beside the data they are about."""

from typing import Any, Final

MACHINES: Final[tuple[dict[str, Any], ...]] = (
    {
        "title": "Order",
        "says": "What the customer is promised. It leaves `pending` once, with its checkout.",
        "states": "OrderStatus",
        "moves": "ORDER_TRANSITIONS",
        "begins": ("pending",),
        "meanings": {
            "pending": "Placed; the checkout is under way, in either direction.",
            "confirmed": "Paid, invoiced, and its goods are taken from the stock.",
            "failed": "Came to nothing; whatever had been done is undone.",
            "canceled": "Taken back by somebody before it was paid; the rest is undone.",
        },
        "reasons": {
            ("pending", "confirmed"): "The step `confirm_order`, after the payment.",
            (
                "pending",
                "failed",
            ): "`FailOrder`, the last act of a compensation that nobody asked for.",
            ("pending", "canceled"): "`FailOrder`, where customer or operator canceled.",
        },
        "source": "orders.states",
    },
    {
        "title": "Saga",
        "says": (
            "Where a checkout, or any other saga, stands. *Parked* is no state: it is a stop in\n"
            "`running` or `compensating`, with a reason, until an operator resumes it. A saga\n"
            "parked before its point of no return is still compensated at its deadline."
        ),
        "states": "SagaState",
        "moves": "SAGA_TRANSITIONS",
        "begins": ("running",),
        "meanings": {
            "running": "Goes forward, step by step.",
            "compensating": "Goes backward over every step of its definition.",
            "completed": "Every step is done.",
            "compensated": "Every step is undone, or its door is closed.",
        },
        "reasons": {
            ("running", "completed"): "The commit of the last step.",
            ("running", "compensating"): (
                "A participant's rejection, the deadline, a customer or an operator; "
                "before the point of no return only."
            ),
            ("compensating", "compensated"): "The commit that undoes step 0.",
        },
        "source": "sagas.core.states",
    },
    {
        "title": "Step run",
        "says": (
            "One step of one saga in one direction: a row of the journal (`sagas_steprun`) and\n"
            "one of the context's barrier, written in the same commit. `canceled` stands in the\n"
            "barrier alone, since a step that never ran has no journal."
        ),
        "states": "RunOutcome",
        "moves": "RUN_TRANSITIONS",
        "begins": ("pending", "intended", "done", "rejected", "canceled", "nothing", "skipped"),
        "meanings": {
            "pending": "A branch of a group that is still to be done; in the journal only.",
            "intended": "Committed that a remote call may be under way.",
            "done": "Its effect is committed.",
            "rejected": "The participant said no; the same commit began the compensation.",
            "canceled": "Did not end, and never may: the compensation came first.",
            "nothing": "A compensation that found nothing to undo.",
            "skipped": "Its condition was false, or an operator skipped it and said why.",
        },
        "reasons": {
            ("pending", "intended"): "The branch is about to call another system.",
            ("pending", "done"): "The branch's effect is committed.",
            ("pending", "rejected"): "The branch was refused; the whole group is undone.",
            ("pending", "canceled"): "The compensation took the branch before it had run.",
            ("pending", "skipped"): "Its condition was false, or an operator went on without it.",
            (
                "intended",
                "canceled",
            ): "The compensation took the branch in its call, and undoes it.",
            ("intended", "skipped"): "An operator has settled it by hand.",
            ("intended", "done"): "The call has taken effect, and its outcome is recorded.",
            ("intended", "rejected"): "The other side said no; at a pivot, after the no is final.",
        },
        "source": "sagas.core.states",
    },
    {
        "title": "Payment",
        "says": "The money of one order.",
        "states": "PaymentStatus",
        "moves": "PAYMENT_TRANSITIONS",
        "begins": ("created",),
        "meanings": {
            "created": "Opened here and at the provider; no money is held.",
            "authorized": "The amount is held on the card.",
            "captured": "The money is ours.",
            "failed": "No money was ever held, and none will be.",
            "voided": "The hold was let go.",
        },
        "reasons": {
            ("created", "authorized"): "The provider holds the money.",
            ("created", "failed"): "Declined, or closed before anything was held.",
            ("created", "voided"): (
                "The answer of the hold was lost, and the provider let it go when asked to close."
            ),
            ("authorized", "captured"): "The pivot of the checkout.",
            ("authorized", "voided"): "Compensation, or a capture that was refused for good.",
        },
        "source": "payments.states",
    },
    {
        "title": "Operation",
        "says": "One call to the provider that can move money; written before it is sent.",
        "states": "OperationStatus",
        "moves": "OPERATION_TRANSITIONS",
        "begins": ("sent",),
        "meanings": {
            "sent": "About to be sent, or sent; the answer is not recorded.",
            "unknown": "An answer was lost: the provider is asked before the call is repeated.",
            "succeeded": "Done, and recorded.",
            "declined": "A definite no.",
        },
        "reasons": {
            ("sent", "unknown"): "A second attempt finds the operation without an answer.",
            ("sent", "succeeded"): "The answer came, and is recorded.",
            ("sent", "declined"): "The answer came, and was no.",
            ("unknown", "succeeded"): "The provider was asked: it had happened, or now has.",
            ("unknown", "declined"): "The provider was asked: it cannot happen any more.",
        },
        "source": "payments.states",
    },
    {
        "title": "Reservation",
        "says": "Goods set aside for one line of an order.",
        "states": "ReservationState",
        "moves": "RESERVATION_TRANSITIONS",
        "begins": ("held",),
        "meanings": {
            "held": "Counted in `reserved`; nobody else can buy them.",
            "committed": "Taken from the stock: `on_hand` is lower.",
            "released": "For sale again.",
        },
        "reasons": {
            ("held", "committed"): "The order is confirmed.",
            ("held", "released"): "`ReleaseStock`, the undo of `reserve_stock`.",
        },
        "source": "orders.inventory.states",
    },
    {
        "title": "Invoice",
        "says": "An issued invoice never changes, but for what is paid on it.",
        "states": "InvoiceStatus",
        "moves": "INVOICE_TRANSITIONS",
        "begins": ("open", "settled"),
        "meanings": {
            "open": "Issued and booked; not yet paid in full.",
            "settled": "Paid in full.",
        },
        "reasons": {
            ("open", "settled"): "News of the payment, or of its last part, arrives.",
        },
        "source": "billing.states",
    },
    {
        "title": "Watched flow",
        "says": (
            "One instance of a choreography; parked is a stop inside the first two. See"
            " [choreography.md](choreography.md)."
        ),
        "states": "FlowState",
        "moves": "FLOW_TRANSITIONS",
        "begins": ("running",),
        "meanings": {
            "running": "A hop is not through yet.",
            "compensating": "Given up: what was done is being taken back, hop by hop.",
            "completed": "The last hop is through.",
            "compensated": "Every hop that can be taken back is.",
            "closed": "An operator saw to it by hand.",
        },
        "reasons": {
            ("running", "completed"): "The watchdog has seen every hop.",
            ("running", "compensating"): (
                "A hop is missing after the last re-drive, or an operator gave the flow up."
            ),
            ("running", "closed"): "An operator's act on a parked flow.",
            ("compensating", "compensated"): "The undo of the first hop is committed.",
            ("compensating", "closed"): "An operator's act on a parked flow.",
        },
        "source": "sagas.core.states",
    },
    {
        "title": "Coupon",
        "says": "What an order has earned its customer.",
        "states": "CouponState",
        "moves": "COUPON_TRANSITIONS",
        "begins": ("granted", "withdrawn"),
        "meanings": {
            "granted": "Good for its amount.",
            "withdrawn": "Good for nothing; withdrawn before it was granted, it never will be.",
        },
        "reasons": {
            ("granted", "withdrawn"): "The reward was given up before the customer was told.",
        },
        "source": "billing.coupons.states",
    },
)

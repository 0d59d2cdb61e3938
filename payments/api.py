"""The front door: what other contexts may name."""

from payments.commands import (
    AuthorizedPayment,
    AuthorizePayment,
    CapturedPayment,
    CapturePayment,
    ClosePayment,
    PreparedPayment,
    PreparePayment,
    VoidPayment,
)
from payments.queries import (
    PaymentMethodView,
    PaymentView,
    method_of,
    methods_of,
    payment_for_order,
)
from payments.services import (
    UnknownToken,
    add_method,
    drop_method,
    forget_method,
    register_method,
)

__all__ = [
    "AuthorizePayment",
    "AuthorizedPayment",
    "CapturePayment",
    "CapturedPayment",
    "ClosePayment",
    "PaymentMethodView",
    "PaymentView",
    "PreparePayment",
    "PreparedPayment",
    "UnknownToken",
    "VoidPayment",
    "add_method",
    "drop_method",
    "forget_method",
    "method_of",
    "methods_of",
    "payment_for_order",
    "register_method",
]

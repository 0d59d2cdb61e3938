"""Carries out one command as the engine does: intent, call, record; each where it belongs."""

import contextlib
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from payments import api
from payments.models import Outbox, Payment, PaymentOperation
from sagas.api import Rejected, Run, transaction, uuid7
from sagas.core.keys import Direction, effect_key
from sagas.orchestration.handlers import handler_of
from sagas.orchestration.run import RUN

STEPS = {
    api.PreparePayment: ("prepare_payment", Direction.DO),
    api.ClosePayment: ("prepare_payment", Direction.UNDO),
    api.AuthorizePayment: ("authorize_payment", Direction.DO),
    api.VoidPayment: ("authorize_payment", Direction.UNDO),
    api.CapturePayment: ("capture_payment", Direction.DO),
}


@dataclass(kw_only=True)
class Driver:
    """One checkout, as far as payments sees it."""

    card: str = "card_good"
    amount: int = 1000
    saga_id: UUID = field(default_factory=uuid7)
    order_id: UUID = field(default_factory=uuid7)
    payment_id: UUID = field(default_factory=uuid7)
    customer_id: UUID = field(default_factory=uuid7)
    method_id: UUID = field(init=False)

    def __post_init__(self):
        self.method_id = api.register_method(self.customer_id, self.card).id

    def prepare(self):
        return self.step(
            api.PreparePayment(
                payment_id=self.payment_id,
                order_id=self.order_id,
                customer_id=self.customer_id,
                method_id=self.method_id,
                amount=self.amount,
                currency="GBP",
            )
        )

    def authorize(self):
        return self.step(api.AuthorizePayment(payment_id=self.payment_id))

    def capture(self):
        return self.step(api.CapturePayment(payment_id=self.payment_id))

    def void(self):
        return self.step(api.VoidPayment(payment_id=self.payment_id))

    def close(self):
        return self.step(api.ClosePayment(payment_id=self.payment_id))

    def step(self, command):
        """Run a step to its end, or raise what the call raised; a refusal is recorded."""
        with self.attempt(command) as attempt:
            attempt.intend()
            try:
                outcome = attempt.call()
            except Rejected as rejected:
                outcome = attempt.close()
                if outcome is None:
                    attempt.refuse(rejected)
                    raise
            return attempt.record(outcome)

    @contextlib.contextmanager
    def attempt(self, command):
        step, direction = STEPS[type(command)]
        token = RUN.set(
            Run(
                saga_id=self.saga_id,
                saga_name="orders.checkout",
                step=step,
                step_no=1,
                direction=direction,
                effect_key=effect_key(self.saga_id, step, direction),
                attempts=1,
                correlation_id="correlation-of-the-test",
                failure=None,
                canceled_by=None,
            )
        )
        try:
            yield Attempt(command=command, handler=handler_of(command))
        finally:
            RUN.reset(token)

    @property
    def payment(self) -> Payment:
        return Payment.objects.get(id=self.payment_id)

    @property
    def money(self):
        payment = self.payment
        return (payment.status, payment.authorized, payment.captured, payment.voided)

    def operations(self) -> list[tuple[str, str]]:
        rows = PaymentOperation.objects.filter(payment_id=self.payment_id).order_by("id")
        return [(row.kind, row.status) for row in rows]

    def operation(self, kind) -> PaymentOperation:
        return PaymentOperation.objects.get(payment_id=self.payment_id, kind=kind)

    def events(self) -> list[str]:
        rows = Outbox.objects.filter(aggregateid=self.payment_id).order_by("sequence")
        return [row.type.removeprefix("payments.") for row in rows]


@dataclass(kw_only=True)
class Attempt:
    command: Any
    handler: Any
    intent: Any = None

    def intend(self):
        with transaction("payments"):
            self.intent = self.handler.intent(self.command)
        return self

    def call(self):
        return self.handler.call(self.command, self.intent)

    def close(self):
        return self.handler.close(self.command, self.intent) if self.handler.close else None

    def refuse(self, rejected):
        if self.handler.refused:
            with transaction("payments"):
                self.handler.refused(self.command, self.intent, rejected)

    def record(self, outcome):
        with transaction("payments"):
            return self.handler.carry_out(self.command, self.intent, outcome)

"""Events of the tests' own, about customers, and handlers that write down what they hear."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from django.apps import apps

from orders.models import Customer, Outbox
from sagas.api import Event, connection_of, current_event, publish, transaction
from sagas.core import codec
from sagas.outbox import delivery, subscriptions
from sagas.outbox.subscriptions import SUBSCRIPTIONS, Subscription  # noqa: F401
from sagas.transactions import current_context
from tests.databases import rows

_number = itertools.count(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Told(Event):
    name: ClassVar[str] = "orders.TrialTold"

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Whispered(Event):
    """Nobody listens to it."""

    name: ClassVar[str] = "orders.TrialWhispered"

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldSeen:
    text: str


def a_teller() -> Customer:
    with transaction("orders"):
        return Customer.objects.create(email=f"teller{next(_number)}@example.com", name="Teller")


def tell(teller: Customer, *texts: str, event: type = Told) -> list[str]:
    """Publish one event for each text in one transaction; return their ids."""
    with transaction("orders"):
        return [str(publish(event(text=text), aggregate=teller)) for text in texts]


def write_down(what: str) -> None:
    with connection_of(current_context() or "orders").cursor() as cursor:
        cursor.execute("INSERT INTO public.trial_effect (what) VALUES (%s)", [what])


def listen(
    context: str = "billing",
    act: Callable[[str], None] | None = None,
    *,
    event: str = Told.name,
    version: int = 1,
    payload: type = ToldSeen,
) -> None:
    """Let a context write down what it is told, as ``billing:text#sequence``."""

    def handler(seen: Any) -> None:
        if act is not None:
            act(seen.text)
        write_down(f"{context}:{seen.text}#{current_event().sequence}")

    subscriptions.SUBSCRIPTIONS.setdefault((event, version), []).append(
        Subscription(
            event=event, version=version, context=context, payload=payload, handler=handler
        )
    )


def position(teller: Customer, context: str = "billing") -> int:
    return delivery.position(context, teller.aggregate_type, teller.id)


def inbox(context: str = "billing") -> list[UUID]:
    model = apps.get_model(context, "Inbox")
    return list(model.objects.order_by("id").values_list("event_id", flat=True))


def outbox(*, event_id: str | None = None) -> Any:
    return Outbox.objects.get(id=event_id) if event_id else Outbox.objects.order_by("position")


def grow_old(seconds: float = 3600) -> None:
    """Let all events have been published, and leased, so long ago."""
    rows(
        "UPDATE orders_outbox SET"
        " published_at = published_at - make_interval(secs => %(age)s),"
        " settled_at = settled_at - make_interval(secs => %(age)s),"
        " leased_until = leased_until - make_interval(secs => %(age)s)",
        {"age": seconds},
    )
    rows(
        "UPDATE sagas_deadletter SET next_at = next_at - make_interval(secs => %(age)s)",
        {"age": seconds},
    )


class Failing:
    """Raises for the texts it is told to, so often; counts what it saw."""

    def __init__(self, **times: int) -> None:
        self.times = dict(times)
        self.seen: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, text: str) -> None:
        with self.lock:
            self.seen.append(text)
            left = self.times.get(text, 0)
            if left:
                self.times[text] = left - 1
                raise RuntimeError(f"cannot hear {text}")


def payload_of(event: Event) -> Any:
    return codec.encode(event)

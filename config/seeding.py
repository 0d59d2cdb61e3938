"""Demo data: customers with a card of every kind, items with stock, operators.

Everything is made by the services that make it in production, so that every rule holds for it,
and everything is recognizable as a demo by its name. Running it again adds the next numbers.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.hashers import (
    PBKDF2PasswordHasher,
    check_password,
    get_hasher,
    make_password,
)
from django.contrib.auth.models import Group, User
from django.db import connection, connections
from django.utils.crypto import get_random_string, salted_hmac

from orders.api import NewSku, add_products, issue_token, register_customer
from payments.api import register_method
from sagas.transactions import alias_of

CARDS: Final = (
    "good",
    "declined",
    "insufficient_funds",
    "timeout_before",
    "timeout_after",
    "error_after",
    "slow",
    "capture_declined",
)
OPERATORS: Final = ("viewer", "operator", "administrator")
STOCK: Final = 10_000
BATCH: Final = 500
LOCK: Final = 0x73656564
LAST_CUSTOMER: Final = (
    "SELECT max(substring(reference FROM '^demo-([0-9]+)$')::bigint) FROM audit.v_customers"
)
LAST_SKU: Final = "SELECT max(substring(sku FROM '^DEMO-([0-9]+)$')::bigint) FROM audit.v_stock"
COLORS: Final = ("blue", "red", "green", "white", "yellow", "grey", "black")
THINGS: Final = (
    ("Enamel Mug", 895),
    ("Linen Tea Towel", 650),
    ("Oak Coat Hook", 1250),
    ("Wool Blanket", 5900),
    ("Tin Lantern", 1495),
    ("Glass Carafe", 2275),
    ("Paper Garland", 349),
    ("Cork Board", 1799),
    ("Stoneware Bowl", 1120),
    ("Beeswax Candle", 425),
    ("Canvas Bag", 999),
    ("Brass Bell", 1885),
)


class SeedingAlready(Exception):
    """Another seed of this database is under way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeededCustomer:
    """A demo customer; ``token`` is shown here and never again."""

    id: UUID
    username: str
    password: str
    token: str
    payment_methods: dict[str, UUID]


@dataclass(frozen=True, kw_only=True, slots=True)
class SeededSku:
    """A demo item; ``price`` in minor units."""

    sku: str
    stock: int
    price: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SeededOperator:
    """A demo operator; ``password`` is None if somebody has changed it since."""

    username: str
    password: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """How to sign in as a demo customer; ``password`` is None if somebody has changed it."""

    id: UUID
    username: str
    password: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Seeded:
    """What a seed has made."""

    customers: tuple[SeededCustomer, ...] = ()
    skus: tuple[SeededSku, ...] = ()
    operators: dict[str, SeededOperator] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the document that ``seed --json`` prints."""
        return asdict(self) | {"operators": asdict(self)["operators"] or {}}


def seed(*, customers: int, skus: int, operators: bool) -> Seeded:
    """Add demo customers, items and, once, operators.

    :raises SeedingAlready: if another one runs at the same time
    """
    with _alone():
        return Seeded(
            skus=tuple(_add_skus(skus)),
            customers=tuple(_add_customer(number) for number in _next_customers(customers)),
            operators=seeded_operators() if operators else None,
        )


def has_demo_data() -> bool:
    """Return whether a seed has run here before."""
    return _last(LAST_CUSTOMER) > 0


def first_customer() -> Account:
    """Return the first demo customer; there has to be one."""
    with connections[alias_of("orders")].cursor() as cursor:
        cursor.execute(
            "SELECT customer_id, user_id FROM audit.v_customers WHERE reference ~ '^demo-[0-9]+$'"
            " AND user_id IS NOT NULL ORDER BY length(reference), reference LIMIT 1"
        )
        customer_id, user_id = cursor.fetchall()[0]
    user = User.objects.get(pk=user_id)
    return Account(id=customer_id, username=user.username, password=_still_valid(user))


def seeded_operators() -> dict[str, SeededOperator]:
    """Return the demo operators, made if they are not there."""
    return {role: _operator(role) for role in OPERATORS}


def password_of(username: str) -> str:
    """Return the password that a demo account is made with.

    Derived from SECRET_KEY and not stored, so that whoever may run commands here can have it
    shown again.
    """
    digest = salted_hmac("concord.demo.password", username, algorithm="sha256").digest()
    return base64.b32encode(digest[:10]).decode().lower()


def _operator(role: str) -> SeededOperator:
    username = f"demo-{role}"
    password = password_of(username)
    user, is_new = User.objects.get_or_create(
        username=username,
        defaults={
            "email": f"{username}@example.test",
            "is_staff": True,
            "password": _quickly_hashed(password),
        },
    )
    if is_new:
        user.groups.add(Group.objects.get_or_create(name=role)[0])
    return SeededOperator(username=username, password=_still_valid(user))


def _still_valid(user: User) -> str | None:
    password = password_of(user.username)
    return password if check_password(password, user.password) else None


def _add_customer(number: int) -> SeededCustomer:
    username = f"demo{number:04d}"
    email = f"{username}@example.test"
    password = password_of(username)
    # A killed seed may have left the sign-in without a customer.
    user, _ = User.objects.get_or_create(
        username=username,
        defaults={"email": email, "password": _quickly_hashed(password)},
    )
    customer = register_customer(
        email=email,
        name=f"Demo Customer {number:04d}",
        user_id=user.pk,
        reference=f"demo-{number:04d}",
    )
    return SeededCustomer(
        id=customer.id,
        username=username,
        password=password,
        token=issue_token(customer_id=customer.id, label="seed").text,
        payment_methods={kind: register_method(customer.id, f"card_{kind}").id for kind in CARDS},
    )


def _add_skus(count: int) -> Iterator[SeededSku]:
    first = _last(LAST_SKU) + 1
    for start in range(first, first + count, BATCH):
        items = [_item(number) for number in range(start, min(start + BATCH, first + count))]
        add_products(items)
        yield from (
            SeededSku(sku=item.code, stock=item.stock, price=int(item.unit_price)) for item in items
        )


def _item(number: int) -> NewSku:
    thing, price = THINGS[(number - 1) % len(THINGS)]
    color = COLORS[(number - 1) // len(THINGS) % len(COLORS)]
    return NewSku(
        code=f"DEMO-{number:04d}",
        name=f"Demo {thing}, {color}",
        description="Part of the demo data; nobody will ever send it to you.",
        unit_price=Decimal(price),
        stock=STOCK,
    )


def _next_customers(count: int) -> range:
    first = _last(LAST_CUSTOMER) + 1
    return range(first, first + count)


def _last(question: str) -> int:
    with connections[alias_of("orders")].cursor() as cursor:
        cursor.execute(question)
        found: int | None = cursor.fetchall()[0][0]
    return found or 0


def _quickly_hashed(password: str) -> str:
    """Hash with few rounds: 80 random bits need no more, and the first sign-in hashes again."""
    hasher = get_hasher()
    if isinstance(hasher, PBKDF2PasswordHasher):
        return hasher.encode(password, get_random_string(22), iterations=1)
    return make_password(password)


@contextmanager
def _alone() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if cursor.fetchall() != [(True,)]:
            raise SeedingAlready
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])

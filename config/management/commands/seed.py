"""`manage.py seed`: demo customers, items and operators."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import seeding
from config.reachable import require_database


class Command(BaseCommand):
    """Adds demo data and shows how to sign in; never changes what is there."""

    help = (
        "Add demo customers (with a card of every kind and an API token), items with stock, and "
        "operators. A second run adds the next numbers; the operators are made once. Passwords "
        "follow from SECRET_KEY, so that those of the operators are shown again each time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take how much to add."""
        parser.add_argument("--customers", type=int, default=0, help="customers to add (0)")
        parser.add_argument("--skus", type=int, default=0, help="items to add (0)")
        parser.add_argument("--operators", action="store_true", help="make and show the operators")
        parser.add_argument(
            "--if-empty", action="store_true", help="add nothing where there is demo data"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """Add, and print what was added."""
        require_database()
        customers, skus = options["customers"], options["skus"]
        if customers < 0 or skus < 0:
            raise CommandError("--customers and --skus count upwards from 0", returncode=2)
        if not (customers or skus or options["operators"]):
            raise CommandError("say how many: --customers N, --skus N, --operators", returncode=2)
        if options["if_empty"] and seeding.has_demo_data():
            customers = skus = 0
        try:
            seeded = seeding.seed(customers=customers, skus=skus, operators=options["operators"])
        except seeding.SeedingAlready:
            raise CommandError("another seed is under way: wait until it has ended") from None
        if options["json"]:
            self.stdout.write(json.dumps(seeded.as_dict(), default=str))
        else:
            self._show(seeded)

    def _show(self, seeded: seeding.Seeded) -> None:
        for customer in seeded.customers:
            self.stdout.write(
                f"customer  {customer.username}  password {customer.password}"
                f"  token {customer.token}"
            )
        for sku in seeded.skus:
            self.stdout.write(f"item      {sku.sku}  {sku.stock} in stock  {sku.price / 100:.2f}")
        for role, operator in (seeded.operators or {}).items():
            password = operator.password or "(changed since)"
            self.stdout.write(f"{role:<13} {operator.username}  password {password}")

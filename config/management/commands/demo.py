"""`manage.py demo`: orders of every kind at the running site."""

import os
import sys
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import seeding
from config.demo.site import Refused, Site, SiteSilent
from config.demo.story import Story
from config.reachable import require_database
from orders.api import issue_token
from payments.api import register_method


class Command(BaseCommand):
    """Places orders as a demo customer and shows how each ends."""

    help = (
        "Place orders of every kind over HTTP at the running site and show live how each ends; "
        "exit code 1 if one does not end as expected. `manage.py up` runs it in demo mode."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take where the site is."""
        parser.add_argument(
            "--site",
            default=os.environ.get("CONCORD_SITE", "http://127.0.0.1:8000"),
            help="address of the site (%(default)s, or CONCORD_SITE)",
        )
        parser.add_argument(
            "--patience", type=float, default=180.0, help="seconds in which all has to end (180)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Place, watch, sum up."""
        require_database()
        if not seeding.has_demo_data():
            seeding.seed(customers=1, skus=3, operators=True)
        customer = seeding.first_customer()
        site = options["site"].rstrip("/")
        story = Story(
            site=Site(site, issue_token(customer_id=customer.id, label="demo").text),
            methods=_cards_of(customer.id),
            say=self._say,
            patience=options["patience"],
        )
        self._say(f"placing orders at {site}/ as {customer.username}")
        try:
            expected = story.tell()
            self._say("this is how they ended:")
            for line in story.summary():
                self._say(f"  {line}")
        except (SiteSilent, Refused) as error:
            raise CommandError(f"{error}: is the site running? `manage.py up` starts it") from error
        self._show_around(site, customer)
        if not expected:
            sys.exit(1)

    def _show_around(self, site: str, customer: seeding.Account) -> None:
        self._say("have a look:")
        self._say(f"  shop       {site}/  as {customer.username}, {_words(customer.password)}")
        operator = seeding.seeded_operators()["administrator"]
        self._say(
            f"  operators  {site}/{settings.ADMIN_PATH}  as {operator.username},"
            f" {_words(operator.password)}"
        )
        self._say("  invariants `manage.py invariants` asks whether everything holds")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _cards_of(customer_id: UUID) -> dict[str, UUID]:
    return {kind: register_method(customer_id, f"card_{kind}").id for kind in seeding.CARDS}


def _words(password: str | None) -> str:
    return f"password {password}" if password else "whose password was changed"

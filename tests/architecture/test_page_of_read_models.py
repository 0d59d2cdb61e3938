"""The code with which the page on read models begins."""

import re
from dataclasses import dataclass
from uuid import UUID

import pytest

from orders.models import CustomerAccess
from sagas import api
from sagas.outbox import subscriptions
from sagas.projections import declaring
from sagas.projections.rebuild import rebuild
from tests.architecture.source import ROOT
from tests.factories import a_customer
from tests.integration.orders.board import spread


@pytest.fixture
def page(committed_db, monkeypatch):
    """What the code of the page defines, heard only while the test runs."""
    listening = {event: list(found) for event, found in subscriptions.SUBSCRIPTIONS.items()}
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", listening)
    monkeypatch.setattr(declaring, "PROJECTIONS", {})
    text = (ROOT / "docs" / "read-models.md").read_text()
    code = re.match(r"# Read models\n\n```python\n(.*?)```", text, re.DOTALL)[1]
    names = {
        **vars(api),
        "dataclass": dataclass,
        "UUID": UUID,
        "CustomerAccess": CustomerAccess,
        "__name__": "orders.projections",
    }
    exec(code, names)
    return names


def test_the_page_on_read_models_begins_with_code_that_runs(page):
    customer = a_customer()
    spread()
    spread()
    live = CustomerAccess.objects.values().get(customer_id=customer.id)
    assert (live["currency"], live["can_be_billed"]) == ("GBP", True)

    assert rebuild(page["WALLETS"]).rows == 1
    assert CustomerAccess.objects.get().can_be_billed

"""What must hold of the relay's bell when a part of a transaction is rolled back."""

import pytest
from django.db import transaction as django_transaction

from sagas.api import publish, transaction
from sagas.outbox import bell
from tests.integration.sagas.news import Told, a_teller
from orders.models import Outbox

pytestmark = pytest.mark.usefixtures("nobody_listens")


@pytest.mark.parametrize("tried", [False, True])
def test_an_event_is_rung_for_although_an_earlier_one_was_rolled_back_to_a_savepoint(
    broker, monkeypatch, tried
):
    rung = []
    teller = a_teller()
    monkeypatch.setattr(bell, "ring", rung.append)
    with transaction("orders"):
        if tried:
            with pytest.raises(ValueError, match="no"), django_transaction.atomic():
                publish(Told(text="never"), aggregate=teller)
                raise ValueError("no")
        publish(Told(text="told"), aggregate=teller)

    assert Outbox.objects.count() == 1
    assert rung == ["orders"]

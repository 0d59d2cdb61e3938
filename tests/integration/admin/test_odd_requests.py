"""Requests that no page of the admin leads to."""

import pytest
from django.urls import reverse

from tests.integration.admin.world import a_running_saga, signed_in


@pytest.mark.parametrize(
    "address",
    [
        "/admin/orders/outbox/?type=%00",
        "/admin/sagas/sagainstance/?definition=x%00@1",
        "/admin/sagas/sagainstance/?status=%00",
        "/admin/django_celery_results/taskresult/?status=%00",
        "/admin/billing/ledgeraccount/%00/change/",
    ],
)
def test_a_zero_byte_in_an_address_is_refused(address):
    assert signed_in("administrator").get(address).status_code == 400


@pytest.mark.parametrize("key", ["x", "", "\0", "1"])
def test_a_selection_of_what_is_no_id_is_refused(key):
    a_running_saga()
    url = reverse("admin:sagas_sagainstance_changelist")

    response = signed_in("administrator").post(url, {"action": "park", "_selected_action": key})

    assert response.status_code == 400

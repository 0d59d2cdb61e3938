"""What operators see while the database of one context is away: that is when they look."""

import pytest
from django.urls import reverse

from sagas.models import DeadLetter, SagaInstance
from tests.integration import away
from tests.integration.admin.world import a_dead_letter, a_parked_saga, signed_in

gone, detached = away.gone, away.detached
SAID = "The database payments is not reachable (OperationalError): this page is without what it has"


@pytest.fixture
def parked(broker):
    """A parked saga, begun before the contexts have connections of their own."""
    return SagaInstance.objects.get(id=a_parked_saga(broker))


def text_of(address):
    answer = signed_in("administrator").get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_page_of_a_saga_comes_and_says_what_it_is_without(parked, detached, gone):
    address = reverse("admin:sagas_sagainstance_change", args=[parked.id])
    assert SAID not in text_of(address)
    gone("payments")

    text = text_of(address)
    assert SAID in text
    assert "hold: 12 attempts" in text


@pytest.mark.parametrize("context", ["payments", "orders"])
def test_the_page_of_a_click_comes_and_says_what_it_is_without(parked, detached, gone, context):
    address = reverse("admin:story", args=[parked.correlation_id])
    gone(context)

    text = text_of(address)
    assert SAID.replace("payments", context) in text
    assert f"{parked.name} of {parked.key} began" in text


def test_an_id_is_looked_for_where_it_can_be(parked, detached, gone):
    gone("payments")
    client = signed_in("administrator")
    found = client.get(reverse("admin:find"), {"q": str(parked.id)})
    assert found.url == reverse("admin:sagas_sagainstance_change", args=[parked.id])

    missed = client.get(reverse("admin:find"), {"q": "nobody knows it"})
    assert SAID in missed.content.decode()


@pytest.mark.usefixtures("broker")
def test_a_dead_letter_is_shown_and_can_be_sent_again(detached, gone):
    letter = a_dead_letter()
    gone(letter.producer)
    said = f"The database of {letter.producer} does not say how many wait behind it."

    assert said in text_of(reverse("admin:sagas_deadletter_change", args=[letter.id]))
    act = reverse("admin:sagas_deadletter_act", args=["resend"])
    client = signed_in("administrator")
    [target] = client.get(act, {"id": letter.id}).context["targets"]
    client.post(act, {"target": f"{target.key}|{target.mark}", "reason": "r"})
    assert DeadLetter.objects.get(id=letter.id).attempts == 0

"""Operators signed in, and sagas that stand where a test wants them."""

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from sagas import groups
from sagas.api import Rejected
from sagas.core.keys import Direction
from sagas.ids import uuid7
from sagas.models import DeadLetter, OperatorAction, SagaInstance
from sagas.orchestration import executor, stops
from sagas.outbox.delivery import deliver
from tests.factories import a_sku, an_order
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import make_due

CONTEXTS = ("orders", "billing", "payments")
ROLES = ("viewer", "operator", "administrator")


def an_account(role):
    """A member of one group of operators; or a customer, who is in none and no staff."""
    user = User.objects.create_user(f"{role}-{uuid7().hex[-6:]}", is_staff=role != "customer")
    if role in ROLES:
        groups.ensure()
        user.groups.add(Group.objects.get(name=role))
    return user


def signed_in(role, **options):
    """A browser in which somebody of that role is signed in."""
    client = Client(**options)
    client.force_login(an_account(role))
    return client


def raising(error):
    def act():
        raise error

    return act


def a_parked_saga(broker):
    """A trial saga whose hold failed until it was parked."""
    saga_id = trial.begin()
    trial.SCRIPT["hold"] = raising(TimeoutError("the bank is silent"))
    broker.drain()
    stops.park(saga_id, reason="hold: 12 attempts")
    trial.SCRIPT.pop("hold")
    return saga_id


def a_running_saga():
    """A trial saga that has not been taken up yet."""
    return trial.begin()


def a_retrying_saga(broker):
    saga_id = trial.begin()
    trial.SCRIPT["hold"] = raising(TimeoutError("the bank is silent"))
    broker.drain()
    trial.SCRIPT.pop("hold")
    return saga_id


def a_completed_saga(broker):
    saga_id = trial.begin()
    broker.drain()
    assert row(saga_id).status == "completed"
    return saga_id


def a_compensated_saga(broker):
    trial.SCRIPT["capture"] = raising(Rejected("expired"))
    saga_id = trial.begin()
    broker.drain()
    trial.SCRIPT.pop("capture")
    assert row(saga_id).status == "compensated"
    return saga_id


def a_saga_past_return(broker):
    """A trial saga that is parked after its pivot."""
    trial.SCRIPT["book"] = raising(RuntimeError("down"))
    saga_id = trial.begin()
    broker.drain()
    stops.park(saga_id, reason="looked at by hand")
    trial.SCRIPT.pop("book")
    assert row(saga_id).past_return
    return saga_id


def go_on(saga_id, broker):
    make_due(saga_id)
    from sagas.orchestration.sweep import sweep

    sweep()
    broker.drain()


def row(saga_id):
    return SagaInstance.objects.get(id=saga_id)


def a_dead_letter(event=None, **facts):
    """An event that billing could not handle, waiting for a person."""
    return DeadLetter.objects.create(
        **{
            "context": "billing",
            "producer": "orders",
            "event_id": event.id if event else uuid7(),
            "event_name": event.type if event else "orders.CustomerRegistered",
            "aggregate_type": event.aggregatetype if event else "orders.customer",
            "aggregate_id": event.aggregateid if event else uuid7(),
            "sequence": event.sequence if event else 1,
            "attempts": 5,
            "reason": "KeyError: 'GBP'",
            "traceback": "Traceback: KeyError",
            **facts,
        }
    )


def an_event():
    """The newest event of orders, written by registering a customer."""
    from tests.factories import a_customer

    a_customer()
    return apps.get_model("orders", "Outbox").objects.latest("position")


def a_finished_order(token="card_good"):
    """An order whose checkout has run to its end against the real provider."""
    a_sku("MUG", stock=50)
    order = an_order(("MUG", 2), token=token)
    if executor.run_link(order.saga_id, 1, 7, Direction.DO) is executor.LinkEnd.REJECTED:
        executor.run_link(order.saga_id, 0, 7, Direction.UNDO)
    for producer in CONTEXTS:
        outbox = apps.get_model(producer, "Outbox").objects.order_by("position")
        ids = [str(one) for one in outbox.values_list("id", flat=True)]
        for consumer in CONTEXTS:
            deliver(producer, consumer, ids)
    order.refresh_from_db()
    return order


def saga_page(saga_id):
    return reverse("admin:sagas_sagainstance_change", args=[saga_id])


def act_url(model, act):
    return reverse(f"admin:{model}_act", args=[act])


def press(client, model, act, *keys, reason="because", seen=None):
    """Open the confirmation as a browser does, and send it with a reason."""
    url = act_url(model, act)
    if seen is None:
        seen = look(client, model, act, *keys)
    return client.post(url, {"target": seen, "reason": reason})


def look(client, model, act, *keys):
    """What the confirmation page remembers of the rows as they were seen."""
    page = client.get(act_url(model, act), {"id": [str(key) for key in keys]})
    targets = page.context["targets"] if page.context else []
    return [f"{target.key}|{target.mark}" for target in targets]


def audit():
    return list(OperatorAction.objects.order_by("id").values_list("action", "outcome"))

"""What the screens show, in how many queries, and that the content security policy lets them."""

import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_results.models import TaskResult

from config.security import POLICY
from payments.gateways.http import PROVIDER
from payments.models import WebhookEvent
from sagas import clock
from sagas.admin import detail
from sagas.api import Postponed, Unknown
from sagas.models import SagaInstance, StepFault, StepRun
from tests.integration.admin.world import (
    a_compensated_saga,
    a_completed_saga,
    a_dead_letter,
    a_finished_order,
    a_parked_saga,
    a_retrying_saga,
    a_saga_past_return,
    act_url,
    an_event,
    go_on,
    press,
    row,
    saga_page,
    signed_in,
)
from tests.integration.sagas import trial
from tests.integration.sagas.test_link_ends import raising

LIST = "admin:sagas_sagainstance_changelist"
INLINE = re.compile(
    r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE
)


def queries(client, url, **data):
    with CaptureQueriesContext(connection) as captured:
        response = client.get(url, data)
    assert response.status_code == 200, url
    return len(captured)


def lanes(page):
    """For each lane of the picture the classes of what is drawn in it, without their prefix."""
    return [
        [shape.classes.replace("tl-", "") for shape in lane.shapes]
        for lane in page.context["page"].picture.lanes
    ]


def shown(saga_id):
    return signed_in("viewer").get(saga_page(saga_id))


def test_a_completed_saga_is_drawn_forward(broker):
    page = shown(a_completed_saga(broker))

    assert lanes(page) == [["done forward"]] * 5
    picture = page.context["page"].picture
    assert picture.now_x is None
    assert [lane.is_border for lane in picture.lanes] == [False, False, False, True, False]
    assert b"Completed in" in page.content


def test_a_compensated_saga_is_drawn_with_its_way_back(broker):
    page = shown(a_compensated_saga(broker))

    assert lanes(page) == [
        ["done forward", "done return"],
        ["done forward", "done return"],
        ["done forward", "done return"],
        ["rejected forward", "nothing return", "mark-rejected forward"],
        ["nothing return"],
    ]
    assert "because of “expired” at capture" in page.content.decode()
    assert 'fill="url(#stripes)"' in page.content.decode()


def test_a_parked_saga_is_drawn_with_what_went_wrong_and_now(broker):
    saga_id = a_parked_saga(broker)
    page = shown(saga_id)

    picture = page.context["page"].picture
    assert picture.now_x is not None
    assert [lane.name for lane in picture.lanes if lane.is_current] == ["hold"]
    assert lanes(page)[2] == [
        "intended forward",
        "attempt forward",
        "mark-fault forward",
        "gap forward",
    ]
    text = page.content.decode()
    assert "Parked" in text
    assert "TimeoutError: the bank is silent" in text
    assert "Traceback (most recent call last)" in text
    assert "The point of no return (capture) is not reached" in text


def test_a_retrying_saga_says_when_the_next_attempt_is(broker):
    text = shown(a_retrying_saga(broker)).content.decode()

    assert "Step hold failed (once)" in text
    assert "next attempt" in text


def test_the_page_of_a_saga_that_was_put_off_all_day_shows_the_latest_times(broker):
    trial.SCRIPT["hold"] = raising(Postponed("not called for now"))
    saga_id = trial.begin()
    broker.drain()
    first = StepFault.objects.get(saga_id=saga_id)
    again = {
        field.attname: getattr(first, field.attname)
        for field in StepFault._meta.fields
        if field.attname not in {"id", "at"}
    }
    StepFault.objects.bulk_create(StepFault(**again, at=clock.real()) for _ in range(5000))

    response = shown(saga_id)
    page = response.context["page"]
    assert len(page.faults) == detail.MOST_FAULTS
    assert first not in page.faults
    [hold] = [row for row in page.table if row.name == "hold" and row.direction == "do"]
    assert hold.attempts == 1, "being put off uses up none"
    assert "Only the latest" in response.content.decode()


def test_a_saga_past_the_point_of_no_return_says_so(broker):
    text = shown(a_saga_past_return(broker)).content.decode()

    assert "past the point of no return (capture) and only goes forward" in text


def test_a_saga_whose_definition_is_not_known_here_is_shown_from_its_journal(broker, monkeypatch):
    saga_id = a_parked_saga(broker)
    from sagas.orchestration import registry

    monkeypatch.delitem(registry.SAGAS, (trial.TRIAL.name, trial.TRIAL.version))
    page = shown(saga_id)

    assert [lane.name for lane in page.context["page"].picture.lanes] == [
        "open",
        "take",
        "hold",
        "unknown here",
        "unknown here",
    ]
    assert b"No release that runs here knows orders.trial version 1" in page.content
    found = signed_in("viewer").get(reverse(LIST), {"stands": "human"})
    assert found.context["cl"].result_count == 1


def test_the_page_links_tasks_events_and_acts(broker):
    saga_id = a_parked_saga(broker)
    StepRun.objects.filter(saga_id=saga_id, name="take").update(task_id="task-1")
    task = TaskResult.objects.create(task_id="task-1", task_name="sagas.run_link")
    event = an_event()
    SagaInstance.objects.filter(id=saga_id).update(correlation_id=event.correlation_id)
    letter = a_dead_letter(event)
    press(signed_in("operator"), "sagas_sagainstance", "resume", saga_id, reason="try again")

    text = shown(saga_id).content.decode()

    assert reverse("admin:django_celery_results_taskresult_change", args=[task.pk]) in text
    assert reverse("admin:orders_outbox_change", args=[event.position]) in text
    assert reverse("admin:sagas_deadletter_change", args=[letter.id]) in text
    assert "try again" in text


def test_what_a_fault_says_is_never_markup(broker):
    trial.SCRIPT["take"] = lambda: (_ for _ in ()).throw(RuntimeError("<script>alert(1)</script>"))
    saga_id = trial.begin()
    broker.drain()

    text = shown(saga_id).content.decode()

    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_saga_that_is_not_there_is_not_found():
    client = signed_in("viewer")

    assert client.get(saga_page("01999999-0000-7000-8000-000000000000")).status_code == 404
    assert client.get(saga_page("nonsense")).status_code == 404


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"stands": "human"}, {"parked"}),
        ({"stands": "parked"}, {"parked"}),
        ({"stands": "unfinished"}, {"parked", "retrying"}),
        ({"stands": "retrying"}, {"retrying"}),
        ({"stands": "completed"}, {"completed"}),
        ({"stands": "compensated"}, {"compensated"}),
        ({"definition": "orders.trial@1"}, {"parked", "retrying", "completed", "compensated"}),
        ({"definition": "orders.trial@2"}, set()),
        ({"step": "hold"}, {"parked", "retrying"}),
        ({"step": "take"}, set()),
        ({"older": "60"}, {"retrying"}),
        ({"fault": "hold|TimeoutError"}, {"parked", "retrying"}),
        ({"fault": "capture|expired"}, {"compensated"}),
    ],
)
def test_filters_narrow_the_list(query, expected, broker):
    sagas = {
        "parked": a_parked_saga(broker),
        "retrying": a_retrying_saga(broker),
        "completed": a_completed_saga(broker),
        "compensated": a_compensated_saga(broker),
    }
    SagaInstance.objects.filter(id=sagas["retrying"]).update(started_at="2020-01-01T00:00:00Z")

    page = signed_in("viewer").get(reverse(LIST), query)

    found = {saga.id for saga in page.context["cl"].result_list}
    assert found == {sagas[name] for name in expected}


def test_the_list_is_searched_by_any_id_of_a_saga(broker):
    saga_id = a_completed_saga(broker)
    saga = row(saga_id)
    client = signed_in("viewer")

    for text in (str(saga.id), saga.id.hex, saga.key, saga.key[:8], saga.correlation_id):
        found = client.get(reverse(LIST), {"q": text}).context["cl"].result_list
        assert [one.id for one in found] == [saga_id], text
    assert client.get(reverse(LIST), {"q": "nothing"}).context["cl"].result_count == 0


def test_the_state_of_an_event_is_filtered_and_searched(broker):
    event = an_event()
    client = signed_in("viewer")
    url = reverse("admin:orders_outbox_changelist")

    def count(**query):
        return client.get(url, query).context["cl"].result_count

    assert (count(state="unsent"), count(state="published"), count(state="settled")) == (1, 0, 0)
    type(event).objects.update(
        created_at="2020-01-01T00:00:00Z", published_at="2020-01-01T00:01:30Z"
    )
    assert (count(state="published"), count(lag="60"), count(lag="600")) == (1, 1, 0)
    assert (count(q=str(event.id)), count(q=str(event.aggregateid)), count(q="x")) == (1, 1, 0)
    assert (count(type=event.type), count(type="orders.OrderPlaced")) == (1, 0)
    type(event).objects.update(published_at=None)
    assert b"1 unsent, the oldest for" in client.get(url).content


def test_no_page_takes_more_queries_than_its_budget(broker):
    for _ in range(3):
        a_parked_saga(broker)
    saga_id = a_compensated_saga(broker)
    a_dead_letter(an_event())
    client = signed_in("administrator")

    lists = {
        model._meta.label_lower: queries(
            client,
            reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"),
        )
        for model in apps.get_models()
        if admin.site.is_registered(model)
        and model._meta.app_label in {"orders", "billing", "payments", "sagas"}
    }
    assert {name: count for name, count in lists.items() if count > 8} == {}
    StepRun.objects.filter(saga_id=saga_id).update(task_id="task-1")
    assert queries(client, saga_page(saga_id)) <= 17
    assert queries(client, reverse("admin:index")) <= 23


def test_the_count_of_a_list_stops_at_a_bound(monkeypatch):
    from sagas.admin import paging

    monkeypatch.setattr(paging, "MOST", 3)
    for _ in range(5):
        trial.begin()

    page = signed_in("viewer").get(reverse(LIST))

    assert page.context["cl"].result_count == 3


def test_the_dashboard_says_so_when_nothing_waits():
    text = signed_in("viewer").get(reverse("admin:index")).content.decode()

    assert "Nothing waits for a human" in text
    assert "No attempt of any step went wrong" in text


def test_the_dashboard_shows_what_waits_and_what_failed(broker):
    saga_id = a_parked_saga(broker)
    a_parked_saga(broker)
    a_dead_letter(an_event())
    WebhookEvent.objects.create(
        provider="simulator", event_ref="ev_1", type="capture", body=b"{}", state="parked"
    )
    client = signed_in("administrator")
    press(client, "sagas_sagainstance", "park", saga_id)

    page = client.get(reverse("admin:index"))

    board = page.context["board"]
    assert [(wait.title, wait.count) for wait in board.waits] == [
        ("sagas", 2),
        ("dead letter", 1),
        ("webhook that names nothing of ours", 1),
    ]
    assert [(backlog.title, backlog.count) for backlog in board.backlogs] == [
        ("unfinished sagas", 2),
        ("unsent events of orders", 1),
        ("unsent events of billing", 0),
        ("unsent events of payments", 0),
        ("events that billing has not applied", 1),
        ("events that orders has not applied", 1),
    ]
    assert [(act.action, act.outcome) for act in board.acts] == [("park", "refused")]
    [failure] = board.failures
    assert (failure.step, failure.kind, failure.signature) == ("hold", "fault", "TimeoutError")
    assert (failure.count, failure.sagas) == (2, 2)
    assert client.get(failure.url).context["cl"].result_count == 2
    for wait in board.waits:
        assert client.get(wait.url).context["cl"].result_count == wait.count


def test_the_dashboard_says_which_system_is_not_called(settings):
    settings.SAGAS = {**settings.SAGAS, "BREAKER_FAILURES": 1}
    client = signed_in("viewer")
    assert "does not answer" not in client.get(reverse("admin:index")).content.decode()

    with pytest.raises(Unknown), PROVIDER.call():
        raise Unknown("no answer")
    text = client.get(reverse("admin:index")).content.decode()
    PROVIDER.forget()
    assert "payments.provider does not answer" in text
    assert "use up no attempts" in text


def test_staff_in_no_group_get_an_empty_dashboard():
    page = signed_in("staff").get(reverse("admin:index"))

    assert page.status_code == 200
    assert page.context["board"] is None
    assert b"Needs a human" not in page.content


def every_page(order):
    """A page of every registered table: its list, and one row where there is any."""
    for model in apps.get_models():
        label, name = model._meta.app_label, model._meta.model_name
        if admin.site.is_registered(model) and label != "django_celery_results":
            yield reverse(f"admin:{label}_{name}_changelist")
            first = model._default_manager.first()
            if first is not None:
                yield reverse(f"admin:{label}_{name}_change", args=[first.pk])
    yield reverse("admin:index")
    yield reverse("admin:find")
    yield f"{reverse('admin:find')}?q={order.customer_id}"
    yield f"{act_url('sagas_sagainstance', 'park')}?id={order.saga_id}"


def test_every_page_renders_without_inline_style_or_script(session_provider):
    order = a_finished_order()
    an_event()
    a_dead_letter()
    client = signed_in("administrator")

    seen = 0
    for url in every_page(order):
        response = client.get(url, follow=True)
        assert response.status_code == 200, url
        assert response["Content-Security-Policy"] == POLICY
        assert INLINE.findall(response.content.decode()) == [], url
        seen += 1
    assert seen > 40


def test_an_order_shows_and_links_what_belongs_to_it(session_provider):
    order = a_finished_order()
    client = signed_in("viewer")

    text = client.get(reverse("admin:orders_order_change", args=[order.id])).content.decode()

    assert reverse("admin:sagas_sagainstance_change", args=[order.saga_id]) in text
    assert reverse("admin:payments_payment_change", args=[order.payment_id]) in text
    assert "/billing/invoice/" in text
    assert "5.00 GBP" in text
    payment = client.get(reverse("admin:payments_payment_change", args=[order.payment_id]))
    assert payment.content.count(b"succeeded") >= 2
    ledger = client.get(reverse("admin:billing_ledgeraccount_changelist"))
    assert b"The books balance." in ledger.content


def test_the_time_a_saga_was_parked_is_not_drawn_as_work(broker):
    saga_id = a_parked_saga(broker)
    press(signed_in("operator"), "sagas_sagainstance", "resume", saga_id)
    go_on(saga_id, broker)

    page = shown(saga_id)

    [act] = page.context["page"].picture.acts
    hold = page.context["page"].picture.lanes[2].shapes
    [bar] = [shape for shape in hold if "tl-done" in shape.classes]
    assert bar.x >= act.x


def test_the_map_of_events_names_who_listens():
    page = signed_in("viewer").get(reverse("admin:event_map"))

    text = page.content.decode()
    assert "payments.PaymentCaptured" in text
    assert "book_payment" in text
    assert INLINE.search(text) is None


def test_the_map_of_events_is_for_operators_only():
    assert signed_in(None).get(reverse("admin:event_map")).status_code == 403

"""Who may look at what, and who may act: every role against every screen and act."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.urls import reverse

from sagas import groups
from sagas.models import DeadLetter
from sagas.orchestration import stops
from sagas.outbox import letter_marks
from tests.integration.admin.world import (
    a_dead_letter,
    a_parked_saga,
    a_running_saga,
    act_url,
    an_event,
    audit,
    look,
    press,
    row,
    saga_page,
    signed_in,
)

OURS = ("orders", "billing", "payments", "sagas", "django_celery_results")
ROLES = ("viewer", "operator", "administrator", "customer", "staff")
SEES = {"viewer", "operator", "administrator"}
OPERATES = {"operator", "administrator"}


def lists(*labels):
    """The list pages of every registered table of these apps."""
    return [
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for model in apps.get_models()
        if admin.site.is_registered(model) and model._meta.app_label in labels
    ]


def is_refused(response):
    """Turned away: to the sign-in where the account is no staff, else forbidden."""
    at_the_door = response.status_code == 302 and "/login/" in response["Location"]
    return at_the_door or response.status_code == 403


@pytest.mark.parametrize("role", ROLES)
def test_lists_are_for_operators_of_every_group(role):
    client = signed_in(role)

    refused = {url for url in lists(*OURS) if is_refused(client.get(url))}

    assert refused == (set() if role in SEES else set(lists(*OURS)))
    assert len(lists(*OURS)) > 15


@pytest.mark.parametrize("role", ROLES)
def test_pages_of_rows_are_for_operators_of_every_group(role, broker):
    saga_id, letter, event = a_parked_saga(broker), a_dead_letter(), an_event()
    client = signed_in(role)
    pages = [
        saga_page(saga_id),
        reverse("admin:sagas_deadletter_change", args=[letter.id]),
        reverse("admin:orders_outbox_change", args=[event.position]),
    ]

    assert [is_refused(client.get(page)) for page in pages] == [role not in SEES] * 3


@pytest.mark.parametrize("role", ROLES)
def test_accounts_are_for_administrators(role):
    client = signed_in(role)

    assert is_refused(client.get(reverse("admin:auth_user_changelist"))) == (
        role != "administrator"
    )


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("act", "allowed", "changes"),
    [
        ("resume", OPERATES, lambda saga: saga.parked_at is None),
        ("compensate", {"administrator"}, lambda saga: saga.status == "compensating"),
        ("park", {"administrator"}, lambda saga: saga.parked_at is not None),
        ("skip", {"administrator"}, lambda saga: saga.cursor == 2),
    ],
)
def test_an_act_on_a_saga_is_for_those_who_may(role, act, allowed, changes, broker):
    saga_id = a_running_saga() if act in {"park", "skip"} else a_parked_saga(broker)
    if act == "skip":
        stops.park(saga_id, reason="looked at by hand")
    before = row(saga_id)
    seen = look(signed_in("administrator"), "sagas_sagainstance", act, saga_id)

    response = press(signed_in(role), "sagas_sagainstance", act, saga_id, seen=seen)

    after = row(saga_id)
    if role in allowed:
        assert response.status_code == 200
        assert changes(after)
        assert audit() == [(act, "done")]
    else:
        assert is_refused(response)
        assert (after.status, after.fencing_token) == (before.status, before.fencing_token)
        assert after.parked_at == before.parked_at
        assert audit() == []


@pytest.mark.parametrize("role", ROLES)
def test_a_dead_letter_is_resent_by_those_who_may(role, broker):
    letter = a_dead_letter()
    mark = letter_marks.look(letter_marks.with_cause(DeadLetter.objects.all()).get())

    response = press(
        signed_in(role), "sagas_deadletter", "resend", letter.id, seen=[f"{letter.id}|{mark}"]
    )

    letter.refresh_from_db()
    sent = [signature.args for signature in broker.take()]
    if role in OPERATES:
        assert response.status_code == 200
        assert (letter.attempts, audit()) == (0, [("resend", "done")])
        assert sent == [("orders", "billing", [str(letter.event_id)])]
    else:
        assert is_refused(response)
        assert (letter.attempts, audit(), sent) == (5, [], [])


@pytest.mark.parametrize("role", ROLES)
def test_an_event_is_resent_by_those_who_may(role, broker):
    event = an_event()
    broker.take()
    seen = [f"{event.position}|{event.attempts}"]

    response = press(signed_in(role), "orders_outbox", "resend", event.position, seen=seen)

    sent = [signature.args for signature in broker.take()]
    if role in OPERATES:
        assert response.status_code == 200
        assert (audit(), sent) == (
            [("resend", "done")],
            [("orders", consumer, [str(event.id)]) for consumer in ("billing", "orders")],
        )
    else:
        assert is_refused(response)
        assert (audit(), sent) == ([], [])


@pytest.mark.parametrize("role", ["viewer", "operator", "administrator"])
def test_the_list_offers_only_the_acts_that_the_role_has(role, broker):
    saga_id = a_parked_saga(broker)
    client = signed_in(role)
    url = reverse("admin:sagas_sagainstance_changelist")

    form = client.get(url).context["action_form"]

    offered = [name for name, _ in form.fields["action"].choices if name] if form else []
    assert (
        offered
        == {
            "viewer": [],
            "operator": ["resume"],
            "administrator": ["resume", "compensate", "skip", "park"],
        }[role]
    )
    client.post(url, {"action": "compensate", "_selected_action": [str(saga_id)]})
    assert row(saga_id).status == "running"


def test_nobody_adds_edits_or_deletes_what_the_product_writes():
    client = signed_in("administrator")
    editable = {"product", "sku", "rollout"}
    for model in apps.get_models():
        label, name = model._meta.app_label, model._meta.model_name
        if label not in OURS[:4] or not admin.site.is_registered(model):
            continue
        request = client.get(reverse("admin:index")).wsgi_request
        screen = admin.site.get_model_admin(model)
        assert not screen.has_add_permission(request), name
        assert not screen.has_delete_permission(request), name
        assert screen.has_change_permission(request) == (name in editable), name
        assert client.get(reverse(f"admin:{label}_{name}_add")).status_code == 403, name
        assert "delete_selected" not in screen.get_actions(request), name


def test_not_even_a_superuser_edits_the_engine(broker):
    saga_id = a_parked_saga(broker)
    client = signed_in("administrator")
    user = client.get(reverse("admin:index")).wsgi_request.user
    user.is_superuser = True
    user.save()

    client.post(saga_page(saga_id), {"status": "completed"})
    assert row(saga_id).status == "running"
    assert client.post(f"{saga_page(saga_id)[:-7]}delete/", {"post": "yes"}).status_code == 403


def test_an_act_without_the_token_of_the_form_is_refused(broker):
    saga_id = a_parked_saga(broker)
    seen = look(signed_in("operator"), "sagas_sagainstance", "resume", saga_id)
    client = signed_in("operator", enforce_csrf_checks=True)

    response = press(client, "sagas_sagainstance", "resume", saga_id, seen=seen)

    assert response.status_code == 403
    assert (row(saga_id).parked_at is None, audit()) == (False, [])


def test_an_act_that_does_not_exist_is_not_found():
    client = signed_in("administrator")

    assert client.get(act_url("sagas_sagainstance", "delete")).status_code == 404


def test_an_administrator_cannot_become_more_than_that():
    client = signed_in("administrator")
    user = client.get(reverse("admin:index")).wsgi_request.user
    root = User.objects.create_superuser("root")
    url = reverse("admin:auth_user_change", args=[user.pk])

    form = client.get(url).context["adminform"].form
    client.post(url, {"username": user.username, "is_superuser": "on", "is_staff": "on"})

    user.refresh_from_db()
    assert not user.is_superuser
    assert not {"is_superuser", "user_permissions"} & set(form.fields)
    page = reverse("admin:auth_user_change", args=[root.pk])
    client.post(page, {"username": "hijacked"})
    password = reverse("admin:auth_user_password_change", args=[root.pk])
    assert client.post(password, {"password1": "x", "password2": "x"}).status_code == 403
    root.refresh_from_db()
    assert root.username == "root"


def test_migrate_makes_the_groups_and_repairs_them():
    viewer = Group.objects.get(name="viewer")
    before = set(viewer.permissions.values_list("codename", flat=True))
    viewer.permissions.add(Permission.objects.get(codename="compensate_saga"))

    call_command("migrate", verbosity=0)

    assert set(viewer.permissions.values_list("codename", flat=True)) == before
    assert all(name.startswith("view_") for name in before)
    assert set(Group.objects.values_list("name", flat=True)) == set(groups.GROUPS)
    extra = {
        name: set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))
        - before
        for name in groups.GROUPS
    }
    assert extra == {
        "viewer": set(),
        "operator": {"resume_saga", "resend_deadletter"},
        "administrator": {
            "resume_saga",
            "resend_deadletter",
            "compensate_saga",
            "skip_saga",
            "discard_deadletter",
            "discard_unreadable",
            "view_user",
            "add_user",
            "change_user",
            "view_group",
            "change_product",
            "change_sku",
            "change_rollout",
        },
    }

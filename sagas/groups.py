"""The three groups of operators and what each may do; made anew after every ``migrate``."""

from collections.abc import Iterable

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db import router
from django.db.models import Q

from sagas.contexts import contexts

VIEWER = "viewer"
OPERATOR = "operator"
ADMINISTRATOR = "administrator"
GROUPS = (VIEWER, OPERATOR, ADMINISTRATOR)

OPERATES = ("sagas.resume_saga", "sagas.resend_deadletter")
ADMINISTERS = (
    "sagas.compensate_saga",  # and park
    "sagas.skip_saga",
    "sagas.discard_deadletter",
    "sagas.discard_unreadable",
    "auth.view_user",
    "auth.add_user",
    "auth.change_user",
    "auth.view_group",
)


def ensure(using: str = "default") -> None:
    """Create the groups and set their permissions to exactly what is written here.

    Safe to repeat. A permission that an operator should have besides is given to the account or
    by a group of its own, which is left alone.
    """
    if not router.allow_migrate_model(using, Group) or not _has_tables(using):
        return
    views = list(_views(using))
    operates = list(_named(OPERATES, using))
    administers = [*_named(ADMINISTERS, using), *_named(_edits(), using)]
    for name, permissions in (
        (VIEWER, views),
        (OPERATOR, [*views, *operates]),
        (ADMINISTRATOR, [*views, *operates, *administers]),
    ):
        group, _ = Group.objects.using(using).get_or_create(name=name)
        group.permissions.set(permissions)


def _has_tables(using: str) -> bool:
    from django.db import connections

    connection = connections[using]
    wanted = {"auth_group", "auth_permission", "auth_group_permissions", "django_content_type"}
    return wanted <= set(connection.introspection.table_names())


def _views(using: str) -> Iterable[Permission]:
    labels = (*contexts(), "sagas", "django_celery_results")
    permissions = Permission.objects.using(using)
    return permissions.filter(content_type__app_label__in=labels, codename__startswith="view_")


def _edits() -> list[str]:
    """Return the permissions to change what a context lets administrators edit."""
    from sagas.admin.edits import EditableAdmin

    return [
        f"{model._meta.app_label}.change_{model._meta.model_name}"
        for model in apps.get_models()
        if admin.site.is_registered(model)
        and isinstance(admin.site.get_model_admin(model), EditableAdmin)
    ]


def _named(names: Iterable[str], using: str) -> Iterable[Permission]:
    wanted = Q(pk__in=[])
    for name in names:
        label, _, codename = name.partition(".")
        wanted |= Q(content_type__app_label=label, codename=codename)
    return Permission.objects.using(using).filter(wanted)

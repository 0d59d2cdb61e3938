"""Filters of the list of sagas."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from sagas import clock
from sagas.models import SagaInstance, Status, StepFault
from sagas.orchestration import registry

Choices = Iterable[tuple[str, str]]
Rows = QuerySet[SagaInstance]


def known_here() -> Q:
    """Return the condition for sagas whose definition this release has."""
    known = Q(pk__in=[])
    for name, version in registry.SAGAS:
        known |= Q(name=name, def_version=version)
    return known


def needs_a_human() -> Q:
    """Return the condition for sagas that do not go on by themselves."""
    return Q(parked_at__isnull=False) | (Q(finished_at__isnull=True) & ~known_here())


class StandingFilter(admin.SimpleListFilter):
    """Where sagas stand; parked is a stop, not a status of its own."""

    title = "where it stands"
    parameter_name = "stands"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Offer the groups operators think in, then the statuses."""
        return (
            ("human", "needs a human"),
            ("unfinished", "unfinished"),
            ("parked", "parked"),
            ("retrying", "retrying"),
            ("waiting", "waiting"),
            ("late", "late at its step"),
            *((status.value, status.value) for status in Status),
        )

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Narrow the list."""
        chosen = self.value()
        conditions = {
            "human": needs_a_human(),
            "unfinished": Q(finished_at__isnull=True),
            "parked": Q(parked_at__isnull=False),
            "retrying": Q(not_before__isnull=False, parked_at__isnull=True, waiting_for=None),
            "waiting": Q(waiting_for__isnull=False, parked_at__isnull=True),
        }
        if chosen == "late":
            return queryset.filter(step_deadline_at__lt=clock.now(), finished_at__isnull=True)
        if chosen in conditions:
            return queryset.filter(conditions[chosen])
        return queryset.filter(status=chosen) if chosen in Status.values else queryset


class DefinitionFilter(admin.SimpleListFilter):
    """The definition and its version."""

    title = "definition"
    parameter_name = "definition"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Offer the definitions of this release."""
        return [(f"{n}@{v}", f"{n} version {v}") for n, v in sorted(registry.SAGAS)]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Narrow the list."""
        name, _, version = (self.value() or "").partition("@")
        if not version.isdecimal():
            return queryset
        return queryset.filter(name=name, def_version=int(version))


class StepFilter(admin.SimpleListFilter):
    """The step that unfinished sagas stand at."""

    title = "current step"
    parameter_name = "step"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Offer the steps of all definitions, in their order."""
        names = {step.name: None for saga in registry.SAGAS.values() for step in saga.steps}
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Narrow the list."""
        chosen = self.value()
        if chosen is None:
            return queryset
        here = Q(pk__in=[])
        for (name, version), saga in registry.SAGAS.items():
            for number, step in enumerate(saga.steps):
                if step.name == chosen:
                    here |= Q(name=name, def_version=version, cursor=number)
                    if step.group is not None:
                        group = Q(cursor=step.group, status=Status.RUNNING)
                        here |= group & Q(name=name, def_version=version)
        return queryset.filter(here, finished_at__isnull=True)


class AgeFilter(admin.SimpleListFilter):
    """How long sagas have been under way."""

    title = "unfinished for longer than"
    parameter_name = "older"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Offer a few lengths of time, in seconds."""
        return (("60", "1 minute"), ("300", "5 minutes"), ("3600", "1 hour"), ("86400", "1 day"))

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Narrow the list."""
        chosen = self.value()
        if chosen is None or not chosen.isdecimal() or len(chosen) > 9:
            return queryset
        limit = Now() - timedelta(seconds=int(chosen))
        return queryset.filter(finished_at__isnull=True, started_at__lt=limit)


class FaultFilter(admin.SimpleListFilter):
    """A step and the kind of error it had; reached from the dashboard."""

    title = "had the fault"
    parameter_name = "fault"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Offer only what is chosen: the dashboard lists what there is."""
        chosen = self.value()
        return [(chosen, chosen.replace("|", ": ", 1))] if chosen else []

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Narrow the list."""
        chosen = self.value()
        if not chosen or "\x00" in chosen:
            return queryset
        step, _, signature = chosen.partition("|")
        faults = StepFault.objects.filter(name=step, error__startswith=signature)
        return queryset.filter(id__in=faults.values("saga_id"))

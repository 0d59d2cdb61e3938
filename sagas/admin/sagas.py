"""The list of sagas, and the page of one."""

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Min, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html

from sagas import clock
from sagas.admin import filters, saga_acts, search
from sagas.admin.acts import ActingAdmin
from sagas.admin.causes import by_cause
from sagas.admin.detail import gather, kept_results
from sagas.admin.display import NOTHING, age, chip, short, shortened
from sagas.admin.past import past_url
from sagas.durations import duration
from sagas.models import SagaInstance
from sagas.standing import step_text, word
from sagas.streams.journal import SAGA


@admin.register(SagaInstance)
class SagaInstanceAdmin(ActingAdmin):
    """Sagas; nobody sets a status by hand, the acts go through the orchestrator."""

    acts = (saga_acts.Resume(), saga_acts.Compensate(), saga_acts.Skip(), saga_acts.Park())
    list_display = (
        "standing",
        "business_key",
        "current_step",
        "running_for",
        "attempts",
        "next_attempt",
        "parked_because",
    )
    list_display_links = ("business_key",)
    list_filter = (
        filters.StandingFilter,
        filters.DefinitionFilter,
        filters.StepFilter,
        filters.AgeFilter,
        filters.FaultFilter,
        by_cause("parked_reason", Q(parked_at__isnull=False)),
    )
    ordering = ("-id",)
    search_fields = ("key",)
    search_help_text = "Saga id, business key or its beginning, subject id, correlation id"
    sortable_by: ClassVar[tuple[str, ...]] = ("running_for", "attempts")

    def headline(self, request: HttpRequest) -> str:
        """Return how many are unfinished, and for how long."""
        found = SagaInstance.objects.filter(finished_at__isnull=True).aggregate(
            count=Count("id"), oldest=Min("started_at"), human=Count("id", filters.needs_a_human())
        )
        if not found["count"]:
            return "No saga is unfinished."
        oldest = duration(clock.real() - found["oldest"])
        human = found["human"]
        verb = "needs" if human == 1 else "need"
        waiting = f"{human} {verb} a human" if human else "none of them needs a human"
        return f"{found['count']} unfinished, the oldest for {oldest}; {waiting}."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SagaInstance], search_term: str
    ) -> tuple[QuerySet[SagaInstance], bool]:
        """Find by any id of a saga."""
        term = search_term.strip()
        if not term or "\x00" in term:
            return queryset, False
        wanted = Q(key__startswith=term) | Q(correlation_id=term)
        if (key := search.as_uuid(term)) is not None:
            wanted |= Q(id=key) | Q(subject_id=key)
        return queryset.filter(wanted), False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one saga: a sentence, a picture, its table, and what belongs to it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        saga = self.get_object(request, object_id)
        if saga is None:
            raise Http404("There is no such saga.")
        context = {
            **self.admin_site.each_context(request),
            "title": str(saga),
            "opts": self.opts,
            "page": gather(saga),
            "buttons": self.buttons(request, saga),
            "past_url": past_url(f"{SAGA}:{saga.id}"),
        }
        return TemplateResponse(request, "admin/sagas/detail.html", context)

    @admin.display(description="stands", ordering="status")
    def standing(self, saga: SagaInstance) -> str:
        """Show the chip."""
        return chip(word(saga))

    @admin.display(description="saga and business key", ordering="name")
    def business_key(self, saga: SagaInstance) -> str:
        """Show definition, version and key."""
        return format_html("{} v{}<br>{}", saga.name, saga.def_version, short(saga.key))

    @admin.display(description="step")
    def current_step(self, saga: SagaInstance) -> str:
        """Show the step under the cursor."""
        return step_text(saga) or NOTHING

    @admin.display(description="age", ordering="started_at")
    def running_for(self, saga: SagaInstance) -> str:
        """Show how long it has been running, or how long it took."""
        if saga.finished_at is not None:
            return f"took {duration(saga.finished_at - saga.started_at)}"
        return age(saga.started_at)

    @admin.display(description="next attempt", ordering="not_before")
    def next_attempt(self, saga: SagaInstance) -> str:
        """Show when it is tried again, while a delay runs."""
        retries = saga.parked_at is None and saga.waiting_for is None
        return age(saga.not_before) if retries else NOTHING

    @admin.display(description="parked because")
    def parked_because(self, saga: SagaInstance) -> str:
        """Show why it waits for a person."""
        return shortened(saga.parked_reason) if saga.parked_reason else NOTHING


search.findable(SagaInstance, about=("subject_id",), mentions=("key", "correlation_id"))
if (results := kept_results()) is not None:
    search.findable(results, ids=(), texts=("task_id",))

"""The admin site of the operators: opens with what needs a human, and finds any id."""

from functools import update_wrapper
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest, HttpResponseBadRequest
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path

from sagas.correlation import VISITOR, acting

FIRST = ("sagas",)
LAST = ("django_celery_results", "auth")


class OperationsConfig(AdminConfig):
    """Django's admin with our site in place of the stock one."""

    default_site = "sagas.site.OperationsSite"


class OperationsSite(AdminSite):
    """The stock site with a dashboard, a search box and the engine's tables first."""

    site_header = "Concord operations"
    site_title = "Concord operations"
    index_title = "Operations"
    index_template = "admin/sagas/index.html"

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Add the search box and the pages that belong to no table."""
        from sagas.admin.event_map import event_map_view
        from sagas.admin.past import past_view
        from sagas.admin.search import find_view
        from sagas.admin.story import story_view

        return [
            path("find/", super().admin_view(find_view), name="find"),
            path("event-map/", super().admin_view(event_map_view), name="event_map"),
            path("story/<str:correlation_id>/", super().admin_view(story_view), name="story"),
            path("stream/", super().admin_view(past_view), name="stream"),
            *super().get_urls(),
        ]

    def admin_view(self, view: Any, *args: Any, **options: Any) -> Any:
        """Refuse addresses with a zero byte: PostgreSQL's text has none, and filters ask it."""
        guarded = super().admin_view(view, *args, **options)

        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if "\x00" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
                return HttpResponseBadRequest(render_to_string("400.html"))
            name = request.user.get_username()
            with acting(f"operator:{name}" if name else VISITOR):
                return guarded(request, *args, **kwargs)

        return update_wrapper(answer, guarded)

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Show what needs a human, what is late and what keeps failing."""
        from sagas.admin.dashboard import gather

        return super().index(request, {"board": gather(request), **(extra_context or {})})

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """List the engine's tables first and Django's own last."""
        found = super().get_app_list(request, app_label)
        return sorted(
            found, key=lambda app: (app["app_label"] in LAST, app["app_label"] not in FIRST)
        )

"""The page that shows who tells what, and who listens."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from sagas.outbox.event_map import event_map


def event_map_view(request: HttpRequest) -> HttpResponse:
    """Show the map to whoever may see sagas."""
    from django.contrib import admin

    if not request.user.has_perm("sagas.view_sagainstance"):
        raise PermissionDenied
    context = {
        **admin.site.each_context(request),
        "title": "Who tells what, and who listens",
        "told": event_map(),
    }
    return TemplateResponse(request, "admin/sagas/event_map.html", context)

"""One stream on a page, now or as it stood at an instant."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from sagas.admin.display import link
from sagas.core.errors import SagasError
from sagas.models import SagaInstance
from sagas.streams.folding import FOLDS
from sagas.streams.journal import SAGA
from sagas.streams.reading import NoStream, parse, parse_instant
from sagas.streams.showing import Shown, show

LONGEST = 300


def past_url(stream: str) -> str:
    """Return the address of the page of a stream."""
    return f"{reverse('admin:stream')}?{urlencode({'stream': stream})}"


def past_link(stream: str) -> SafeString:
    """Return the link from a row to what was told of it."""
    return link(past_url(stream), "as of an instant")


def past_view(request: HttpRequest) -> HttpResponse:
    """Show what a stream came to; what cannot be shown is said in words."""
    stream, at = (request.GET.get(name, "").strip()[:LONGEST] for name in ("stream", "at"))
    _refuse(request, stream)
    shown: Shown | None = None
    refusal = ""
    try:
        shown = show(stream, parse_instant(at) if at else None)
    except SagasError as wrong:
        refusal = str(wrong)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "As of an instant",
        "stream": stream,
        "at": at,
        "shown": shown,
        "refusal": refusal,
    }
    return TemplateResponse(request, "admin/sagas/stream.html", context)


def _refuse(request: HttpRequest, stream: str) -> None:
    """Let nobody see the past of what they may not see now."""
    if not admin.site.has_permission(request):
        raise PermissionDenied
    model = _model_of(stream)
    if model is not None and not (
        admin.site.is_registered(model)
        and admin.site.get_model_admin(model).has_view_permission(request)
    ):
        raise PermissionDenied


def _model_of(stream: str) -> type[Model] | None:
    """Return whose rows a stream is about; of one without, only its events are shown."""
    try:
        kind, _ = parse(stream)
    except NoStream:
        return None
    if kind == SAGA:
        return SagaInstance
    return FOLDS[kind].aggregate if kind in FOLDS else None

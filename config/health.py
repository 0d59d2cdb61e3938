"""The probes of a supervisor and the figures of a monitor."""

from django.http import HttpRequest, HttpResponse, JsonResponse


def livez(request: HttpRequest) -> HttpResponse:
    """Say that the process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """Say whether requests may be sent here."""
    return JsonResponse({"ready": True})


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape of Prometheus."""
    return HttpResponse("", content_type="text/plain")

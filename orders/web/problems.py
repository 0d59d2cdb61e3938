"""The page that explains to people what programs are told."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from orders.json_api.problems import KINDS


@require_safe
def problems(request: HttpRequest) -> HttpResponse:
    """List every kind of problem; the type of a problem points here."""
    return render(request, "orders/problems.html", {"kinds": KINDS.items()})

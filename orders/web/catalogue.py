"""The shop window."""

from typing import Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from orders import queries
from orders.forms import SearchForm
from orders.refusals import UnknownProduct
from orders.web.access import with_our_own_404

PAGE: Final = 24


@never_cache
@require_safe
@with_our_own_404
def catalogue(request: HttpRequest) -> HttpResponse:
    """Show the products for sale, or those whose name has what is searched for."""
    form = SearchForm(request.GET)
    if not form.is_valid():
        raise Http404
    search, after = form.cleaned_data["q"], form.cleaned_data["after"]
    try:
        found = queries.catalogue(search=search, limit=PAGE + 1, after=after)
    except UnknownProduct as unknown:
        raise Http404 from unknown
    page = {
        "products": found[:PAGE],
        "search": search,
        "after": after,
        "next": found[PAGE - 1].slug if len(found) > PAGE else "",
    }
    return render(request, "orders/catalogue.html", page)


@never_cache
@require_safe
@with_our_own_404
def product(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one product."""
    found = queries.product(slug)
    if found is None:
        raise Http404
    return render(request, "orders/product.html", {"product": found})

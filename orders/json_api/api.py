"""The interface put together."""

from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, URLResolver, re_path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from orders.json_api import errors, invoices, orders, shop
from orders.json_api.access import BearerToken
from orders.json_api.parsing import StrictParser
from orders.json_api.problems import MEDIA_TYPE, Problem


class Api(NinjaAPI):
    """The interface, which describes its problems under their own media type."""

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the description."""
        schema = super().get_openapi_schema(**options)
        for operations in schema["paths"].values():
            for operation in operations.values():
                _declare_problems(operation["responses"])
        return schema


def _declare_problems(responses: Mapping[int, dict[str, Any]]) -> None:
    for status, response in responses.items():
        if status >= 400:
            response["content"] = {MEDIA_TYPE: response["content"].pop("application/json")}


api = Api(
    title="Concord",
    version="1",
    description="Orders, invoices and payment methods of one customer. Amounts count minor units.",
    urls_namespace="api",
    docs_url=None,
    auth=BearerToken(),
    parser=StrictParser(),
)
errors.install(api)
api.add_router("/orders", orders.router)
api.add_router("/invoices", invoices.router)
api.add_router("", shop.router)

View = Callable[..., HttpResponse]


def _with_problems(view: View) -> View:
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        if isinstance(response, HttpResponseNotAllowed):
            allowed = {"Allow": response.headers["Allow"]}
            return Problem("method_not_allowed", headers=allowed).response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return update_wrapper(answer, view)


@csrf_exempt
def nothing_here(request: HttpRequest) -> HttpResponse:
    """Answer for every address that the interface does not have."""
    return Problem("not_found").response(request)


def _patterns() -> list[URLPattern | URLResolver]:
    """Return the addresses of the interface; those it does not have answer as it does."""
    found: list[URLPattern | URLResolver] = []
    for pattern in api.urls[0]:
        if isinstance(pattern, URLPattern):
            # The root would lead to pages that are switched off; its name is still looked up.
            is_root = pattern.name == "api-root"
            pattern.callback = nothing_here if is_root else _with_problems(pattern.callback)
        found.append(pattern)
    return [*found, re_path("", nothing_here)]


app_name = "api"
urlpatterns = _patterns()

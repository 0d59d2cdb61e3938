"""Who asks: the customer of a bearer token."""

from django.http import HttpRequest
from ninja.security import HttpBearer

from orders.queries import CustomerView, customer_by_token


class ApiRequest(HttpRequest):
    """A request of a program that acts for a customer."""

    auth: CustomerView


class BearerToken(HttpBearer):
    """A token that was issued to a customer and is not revoked."""

    def __call__(self, request: HttpRequest) -> CustomerView | None:
        """Return the customer, or None."""
        scheme, _, token = request.headers.get(self.header, "").partition(" ")
        if scheme.lower() != self.openapi_scheme:
            return None
        return self.authenticate(request, token.strip())

    def authenticate(self, request: HttpRequest, token: str) -> CustomerView | None:
        """Return the customer that the token acts for, or None if it is worth nothing."""
        return customer_by_token(token) if token else None

"""The site as a program of a customer sees it: JSON over HTTP, with a token."""

import json
from typing import Any, Final
from uuid import UUID

import urllib3

from sagas.api import uuid7

TIMEOUT: Final = 10.0
# A request that was not answered is sent again under the same key: it has its effect once.
TRIES: Final = 3


class SiteSilent(Exception):
    """The site does not answer."""


class Refused(Exception):
    """The site answers, but not with what was asked for."""

    def __init__(self, status: int, detail: str) -> None:
        """Keep the status of the answer, and what it says."""
        super().__init__(status, detail)
        self.status = status

    def __str__(self) -> str:
        """Return status and detail."""
        return f"{self.args[0]}: {self.args[1]}"


Json = dict[str, Any]


class Site:
    """What a customer's program may do."""

    def __init__(self, url: str, token: str) -> None:
        """Prepare the connection; nothing is asked yet."""
        self._url = url.rstrip("/")
        self._token = token
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(total=TIMEOUT), retries=False)

    def items(self) -> list[Json]:
        """Return the demo items for sale."""
        products = self._ask("GET", "/products?search=Demo&limit=50")["data"]
        return [sku for product in products for sku in product["skus"]]

    def place_order(self, *, sku: str, quantity: int, payment_method: UUID) -> Json:
        """Place an order of one item."""
        body = {
            "lines": [{"sku": sku, "quantity": quantity}],
            "payment_method": str(payment_method),
        }
        return self._ask("POST", "/orders", body)

    def order(self, order_id: str) -> Json:
        """Return how an order stands."""
        return self._ask("GET", f"/orders/{order_id}")

    def cancel(self, order_id: str) -> Json:
        """Take an order back.

        :raises Refused: 409 if it is too late
        """
        return self._ask("POST", f"/orders/{order_id}/cancel", {})

    def invoice_numbers(self) -> dict[str, str]:
        """Return the numbers of the newest invoices by order."""
        invoices = self._ask("GET", "/invoices?limit=50")["data"]
        return {invoice["order_id"]: invoice["number"] for invoice in invoices}

    def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if body is not None:
            headers["Idempotency-Key"] = str(uuid7())
        answer = self._answer(method, path, headers, None if body is None else json.dumps(body))
        try:
            document: Json = json.loads(answer.data)
        except ValueError:
            raise Refused(answer.status, f"{path} is no part of an API") from None
        if answer.status >= 400:
            raise Refused(answer.status, str(document.get("detail") or document.get("title")))
        return document

    def _answer(
        self, method: str, path: str, headers: dict[str, str], body: str | None
    ) -> urllib3.BaseHTTPResponse:
        url = f"{self._url}/api/v1{path}"
        for tries_left in reversed(range(TRIES)):
            try:
                return self._pool.request(method, url, headers=headers, body=body)
            except urllib3.exceptions.HTTPError as error:
                if not tries_left:
                    raise SiteSilent(f"{url} does not answer: {error}") from error
        raise AssertionError

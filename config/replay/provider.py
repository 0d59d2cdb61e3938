"""The provider's own list, asked over HTTP: the one witness that shares nothing with us."""

import json
from collections import defaultdict
from typing import Any, Final

import urllib3
from django.conf import settings

PAGE: Final = 1000
TIMEOUT: Final = 10.0


class ProviderSilent(Exception):
    """The provider cannot be asked."""


class ProviderList:
    """All intents of the provider, by our reference, which is the id of the payment."""

    def __init__(self) -> None:
        """Prepare the connection; nothing is asked yet."""
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=TIMEOUT),
            headers={"Authorization": f"Bearer {settings.PAYMENT_PROVIDER_KEY}"},
        )

    def check(self) -> None:
        """Make sure that the provider answers.

        :raises ProviderSilent: if it does not
        """
        self._get("/v1/balance")

    def intents(self) -> dict[str, list[dict[str, Any]]]:
        """Return every intent there is, page by page.

        :raises ProviderSilent: if the provider does not answer
        """
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        after = ""
        while True:
            page = self._get(f"/v1/intents?limit={PAGE}{f'&after={after}' if after else ''}")
            for intent in page["data"]:
                found[intent["reference"]].append(intent)
            if not page["has_more"]:
                return found
            after = page["data"][-1]["id"]

    def _get(self, path: str) -> dict[str, Any]:
        url = f"{settings.PAYMENT_PROVIDER_URL}{path}"
        try:
            answer = self._pool.request("GET", url)
        except urllib3.exceptions.HTTPError as error:
            raise ProviderSilent(f"{url} does not answer: {error}") from error
        if answer.status != 200:
            raise ProviderSilent(f"{url} answers {answer.status}")
        content: dict[str, Any] = json.loads(answer.data)
        return content

"""The simulated provider over HTTP.

Nothing is retried here: one layer retries, and that is the engine, which knows the attempts.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import urllib3

from payments.gateway import (
    IntentStatus,
    NewIntent,
    ProviderBusy,
    ProviderCall,
    ProviderDefect,
    ProviderIntent,
    ProviderRefusal,
)
from sagas.api import Breaker, Rejected, Unknown, correlation, outside_transaction

CONNECT_SECONDS = 3.0
CONNECTIONS = 16
PAGE = 1000
DONE_ALREADY = {
    "confirm": frozenset({"already_authorized", "already_captured"}),
    "capture": frozenset({"already_captured"}),
    "cancel": frozenset({"already_captured"}),
}
"""Refusals which tell that the effect was there before, or what is there in its place."""
ABOUT_STATE = frozenset(
    {"already_authorized", "already_captured", "canceled", "not_authorized", "not_captured"}
)
"""409s about where an intent stands, which the provider keeps under the key."""
PROVIDER = Breaker("payments.provider")
HOLD_GONE = "hold_gone"
"""The bank no longer holds the money: only a new payment could hold it again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    status: int
    body: Any
    replayed: bool
    """The provider had stored it under the key, and would have said it again."""

    @property
    def code(self) -> str:
        error = self.body.get("error") if isinstance(self.body, dict) else None
        return str(error.get("code", "")) if isinstance(error, dict) else ""


class HttpGateway:
    """Speaks with the provider over connections that are kept open."""

    def __init__(self, *, url: str, key: str, timeout: float) -> None:
        """Keep the address; nothing is sent yet."""
        self._url = url.rstrip("/")
        self._key = key
        self._pool = urllib3.PoolManager(
            maxsize=CONNECTIONS,
            retries=False,
            timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, timeout), read=timeout),
        )

    def prepare(self, new: NewIntent, call: ProviderCall) -> ProviderIntent:
        """Open an intent; no money moves."""
        body = {
            "amount": new.amount,
            "currency": new.currency,
            "payment_method": new.token,
            "reference": new.reference,
            "metadata": {"key": call.key},
        }
        return self._post("prepare", "/v1/intents", body, call)

    def confirm(self, ref: str, call: ProviderCall) -> ProviderIntent:
        """Hold the money; an intent that holds it already is done."""
        return self._post("confirm", f"/v1/intents/{quote(ref, safe='')}/confirm", {}, call)

    def capture(self, ref: str, call: ProviderCall) -> ProviderIntent:
        """Take the money; an intent that is captured already is done.

        Only for an intent that has held the money: one that holds none has lost it.
        """
        return self._post("capture", f"/v1/intents/{quote(ref, safe='')}/capture", {}, call)

    def cancel(self, ref: str, call: ProviderCall) -> ProviderIntent:
        """Close the intent for good; one that was captured is returned as such."""
        return self._post("cancel", f"/v1/intents/{quote(ref, safe='')}/cancel", {}, call)

    def find(self, ref: str, correlation_id: str = "") -> ProviderIntent:
        """Return an intent by the provider's name of it."""
        answer = self._send("GET", f"/v1/intents/{quote(ref, safe='')}", correlation_id)
        return _intent(answer.body) if answer.status == 200 else _fail("find", answer)

    def find_by_reference(
        self, reference: str, correlation_id: str = ""
    ) -> tuple[ProviderIntent, ...]:
        """Return the intents opened under our name of the payment, oldest first."""
        page = self._page({"reference": reference, "limit": str(PAGE)}, correlation_id)
        return tuple(_intent(item) for item in page["data"])

    def list_all(self, after: str = "") -> Iterator[ProviderIntent]:
        """Return the provider's own list, oldest first."""
        while True:
            page = self._page({"limit": str(PAGE), **({"after": after} if after else {})}, "")
            for item in page["data"]:
                intent = _intent(item)
                after = intent.ref
                yield intent
            if not page["has_more"]:
                return

    def _post(
        self, operation: str, path: str, body: dict[str, Any], call: ProviderCall
    ) -> ProviderIntent:
        answer = self._send("POST", path, call.correlation_id, body=body, key=call.key)
        if answer.status == 200:
            return _intent(answer.body)
        if answer.status == 409 and answer.code in DONE_ALREADY.get(operation, ()):
            return _intent(answer.body.get("intent"))
        if no := _business_no(operation, answer):
            raise Rejected(no)
        if _is_kept(answer):
            raise ProviderRefusal(_told(operation, answer))
        return _fail(operation, answer)

    def _page(self, filters: dict[str, str], correlation_id: str) -> dict[str, Any]:
        answer = self._send("GET", f"/v1/intents?{urlencode(filters)}", correlation_id)
        if answer.status != 200:
            _fail("list", answer)
        page = answer.body
        if not isinstance(page, dict) or not isinstance(page.get("data"), list):
            raise Unknown("list: an answer that cannot be read")
        return {"data": page["data"], "has_more": page.get("has_more") is True}

    def _send(
        self,
        method: str,
        path: str,
        correlation_id: str,
        *,
        body: dict[str, Any] | None = None,
        key: str = "",
    ) -> _Answer:
        outside_transaction()
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        if correlation_id:
            headers["X-Correlation-ID"] = correlation_id
        if (current := correlation.current()) is not None and current.traceparent:
            headers["traceparent"] = current.traceparent
        raw = None if body is None else json.dumps(body).encode()
        if raw is not None:
            headers["Content-Type"] = "application/json"
        with PROVIDER.call():
            try:
                raw_answer = self._pool.request(
                    method, self._url + path, body=raw, headers=headers, redirect=False
                )
            except urllib3.exceptions.HTTPError as broken:
                raise Unknown(f"{method} {path}: {type(broken).__name__}") from broken
            answer = _Answer(
                status=raw_answer.status,
                body=_read(raw_answer.data),
                replayed=raw_answer.headers.get("Idempotency-Replayed") == "true",
            )
            if answer.status >= 500:
                raise Unknown(_told(f"{method} {path}", answer))
        return answer


def _read(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _intent(body: Any) -> ProviderIntent:
    """Read an intent; one that cannot be read tells nothing, so it is asked for again."""
    try:
        error = body["last_error"] or {}
        return ProviderIntent(
            ref=str(body["id"]),
            status=IntentStatus(body["status"]),
            amount=int(body["amount"]),
            currency=str(body["currency"]),
            authorized=int(body["amount_authorized"]),
            captured=int(body["amount_captured"]),
            refunded=int(body["amount_refunded"]),
            reference=str(body["reference"]),
            decline_code=str(error.get("code", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as unreadable:
        raise Unknown("an answer of the provider that cannot be read") from unreadable


def _business_no(operation: str, answer: _Answer) -> str:
    """Return why the bank will not do it, or nothing if it has not said that."""
    if answer.status == 402:
        return answer.code or "declined"
    if answer.status != 409:
        return ""
    if operation == "capture" and answer.code == "not_authorized":
        return HOLD_GONE
    return answer.code if answer.code == "canceled" else ""


def _is_kept(answer: _Answer) -> bool:
    """Return whether an answer is a no that its key will be given for ever.

    A no about the state of an intent is, and whatever came out of the provider's store. Of any
    other 4xx it is not known, and the same request under the same key is right for it: a 409 may
    come from something in between, while an earlier call under the key is still under way.
    """
    if not 400 <= answer.status < 500 or _is_busy(answer):
        return False
    return answer.replayed or (answer.status == 409 and answer.code in ABOUT_STATE)


def _is_busy(answer: _Answer) -> bool:
    return answer.status == 429 or (answer.status == 409 and answer.code == "key_in_progress")


def _told(operation: str, answer: _Answer) -> str:
    return f"{operation}: {answer.status} {answer.code}".rstrip()


def _fail(operation: str, answer: _Answer) -> NoReturn:
    told = _told(operation, answer)
    if _is_busy(answer):
        raise ProviderBusy(told)
    # Bad parameters, a bad key, an object that is not there: none of it says that no money moved.
    raise ProviderDefect(told)

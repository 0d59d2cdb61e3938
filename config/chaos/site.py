"""The product as a customer's program sees it, and a log of all that was said."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

import urllib3

from config.chaos.history import Entry, History, Outcome, now
from sagas.transactions import is_detached

TIMEOUT: Final = 6.0
SILENT: Final = 0
REFUSALS: Final = frozenset({400, 401, 404, 413, 415, 422})
IN_USE: Final = "idempotency_key_in_use"
TOO_LATE: Final = frozenset({"too_late", "already_closed"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back."""

    status: int
    document: dict[str, Any]

    @property
    def code(self) -> str:
        """Return the code of a problem document, or nothing."""
        return str(self.document.get("code", ""))


@dataclass(kw_only=True)
class Program:
    """One customer's program: speaks to any of the web servers, and logs each answer."""

    number: int
    token: str
    sites: list[str]
    history: History
    turn: int = 0
    _pool: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(
            timeout=urllib3.Timeout(total=TIMEOUT), retries=False, maxsize=8
        )
    )

    def place(self, key: str, body: dict[str, Any]) -> Entry:
        """Order something under a key."""
        began = now()
        answer = self._ask("POST", "/orders", key, body)
        outcome = judged(answer)
        order_id = str(answer.document.get("id", "")) if outcome is Outcome.OK else ""
        return self._log(
            Entry(
                client=self.number,
                op="place",
                key=key,
                outcome=outcome,
                status=answer.status,
                order_id=order_id,
                seen=answer.code,
                began=began,
                ended=now(),
            )
        )

    def cancel(self, key: str, order_id: str) -> Entry:
        """Take an order back under a key."""
        began = now()
        answer = self._ask("POST", f"/orders/{order_id}/cancel", key, {})
        outcome = judged(answer)
        if answer.status == 409 and answer.code in TOO_LATE:
            outcome = Outcome.FAIL
        elif outcome is Outcome.OK and is_detached("orders"):
            outcome = Outcome.INFO  # asked for, by way of the outbox; nobody has decided yet
        return self._log(
            Entry(
                client=self.number,
                op="cancel",
                key=key,
                outcome=outcome,
                status=answer.status,
                order_id=order_id,
                seen=answer.code,
                began=began,
                ended=now(),
            )
        )

    def read(self, order_id: str) -> Entry:
        """Look at an order."""
        began = now()
        answer = self._ask("GET", f"/orders/{order_id}", "", None)
        outcome = Outcome.OK if answer.status == 200 else Outcome.INFO
        seen = str(answer.document.get("status", "")) if outcome is Outcome.OK else answer.code
        return self._log(
            Entry(
                client=self.number,
                op="read",
                key="",
                outcome=outcome,
                status=answer.status,
                order_id=order_id,
                seen=seen,
                began=began,
                ended=now(),
            )
        )

    def _log(self, entry: Entry) -> Entry:
        self.history.add(entry)
        return entry

    def _ask(self, method: str, path: str, key: str, body: dict[str, Any] | None) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"}
        if key:
            headers |= {"Idempotency-Key": key, "Content-Type": "application/json"}
        # Another server for each try: one that is down does not answer the second either.
        self.turn += 1
        url = f"{self.sites[self.turn % len(self.sites)]}/api/v1{path}"
        data = None if body is None else json.dumps(body)
        try:
            answer = self._pool.request(method, url, headers=headers, body=data)
            document = json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, ValueError):
            return Answer(status=SILENT, document={})
        return Answer(status=answer.status, document=document)


def judged(answer: Answer) -> Outcome:
    """Say what a program knows after an answer to a POST; what is not definite is unknown."""
    if answer.status == 202:
        return Outcome.OK
    if answer.status in REFUSALS:
        return Outcome.FAIL
    return Outcome.INFO

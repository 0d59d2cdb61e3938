"""The log of physical calls: what came over the wire, and whether it moved anything."""

from dataclasses import dataclass
from typing import Any

from payments.simulator.cards import Fault
from payments.simulator.database import changed, records, row
from payments.simulator.wire import Answer, JsonObject


@dataclass(kw_only=True, slots=True)
class Call:
    """One request on its way through the provider."""

    operation: str
    key: str
    reference: str
    intent: str = ""
    card: str = ""
    correlation_id: str = ""
    traceparent: str = ""
    connection: Any = None
    """The socket, for faults that cut it."""
    fault: Fault | None = None
    row: int | None = None

    def received(self) -> None:
        """Show the call before it is answered, so that one that hangs can be seen."""
        logged = row(
            """INSERT INTO simulator_call (received_at, operation, key, intent, reference,
                correlation_id, traceparent, fault, status, code, executed, replayed)
                VALUES (now(), %s, %s, %s, %s, %s, %s, %s, NULL, '', false, false) RETURNING id""",
            *self._names(),
        )
        self.row = logged[0] if logged else None

    def answered(self, answer: Answer) -> None:
        """Note the answer; stands in the transaction of the effect."""
        outcome = (answer.status, answer.code, answer.executed, answer.replayed)
        if self.row is not None:
            changed(
                """UPDATE simulator_call SET status = %s, code = %s, executed = %s, replayed = %s
                    WHERE id = %s""",
                *outcome,
                self.row,
            )
            return
        changed(
            """INSERT INTO simulator_call (received_at, operation, key, intent, reference,
                correlation_id, traceparent, fault, status, code, executed, replayed)
                VALUES (now(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
            *self._names(),
            *outcome,
        )

    def _names(self) -> tuple[str, ...]:
        fault = self.fault.action if self.fault else ""
        came = (self.correlation_id, self.traceparent)
        return (self.operation, self.key, self.intent, self.reference, *came, fault)


def listed(reference: str, key: str, operation: str, limit: int) -> list[JsonObject]:
    """Return logged calls, oldest first; an empty filter lets all pass."""
    return records(
        """SELECT id, extract(epoch FROM received_at)::float AS received_at, operation, key, intent,
                reference, correlation_id, traceparent, fault, status, code, executed, replayed
            FROM simulator_call WHERE (%s = '' OR reference = %s) AND (%s = '' OR key = %s)
            AND (%s = '' OR operation = %s) ORDER BY id LIMIT %s""",
        *(text for text in (reference, key, operation) for _ in range(2)),
        limit,
    )

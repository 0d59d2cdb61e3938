"""An event as others read it: CloudEvents 1.0, a JSON document that says all of itself."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

CONTENT_TYPE = "application/cloudevents+json"
VERSION = "1.0"
DIGITS = 20
"""Of a sequence, so that the order of the texts is that of the numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """An event as it stands in an outbox."""

    position: int
    event_id: UUID
    aggregate_type: str
    aggregate_id: UUID
    sequence: int
    name: str
    version: int
    occurred_at: datetime
    correlation_id: str
    causation_id: str | None
    traceparent: str | None
    recorded_at: datetime
    payload: Any


def document(told: Told, *, base: str, context: str) -> dict[str, Any]:
    """Write an event of a context as a CloudEvent in the structured mode.

    :param base: the address under which source and schemas are named
    """
    attributes = {
        "specversion": VERSION,
        "id": str(told.event_id),
        "source": f"{base}/{context}",
        "type": told.name,
        "subject": f"{told.aggregate_type}/{told.aggregate_id}",
        "time": told.occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataschema": f"{base}/schemas/{told.name}/{told.version}",
        # Extensions; their names may have lower-case letters and digits only.
        "sequence": f"{told.sequence:0{DIGITS}}",
        "correlationid": told.correlation_id,
        "causationid": told.causation_id,
        "traceparent": told.traceparent,
    }
    # An attribute without a value is left out, and no attribute may be empty.
    return {name: value for name, value in attributes.items() if value} | {"data": told.payload}

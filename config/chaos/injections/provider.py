"""Faults of the payment provider, asked for through its own controls."""

import json
import time
from typing import Any, Final

import urllib3
from django.conf import settings

from config.chaos.servers import wait_for
from config.chaos.stage import Record, Stage

OPERATIONS: Final = {
    "hang_after": "capture",
    "drop_after": "confirm",
    "error_after": "capture",
    "refuse": "capture",
}
TIMES: Final = 4
SECONDS: Final = 4.0


def trouble_provider(stage: Stage, record: Record) -> None:
    """Let the next few calls go wrong in one way."""
    way = record.injection.way
    wanted = {
        "action": way,
        "operation": OPERATIONS.get(way, "any"),
        "times": TIMES,
        "seconds": SECONDS,
    }
    stage.strike(record)
    number = control(stage, "POST", wanted)["id"]
    wait_for(lambda: _left(stage, number) == 0, record.injection.seconds + 3, 0.1)
    struck = TIMES - _left(stage, number)
    control(stage, "DELETE")
    record.healed = time.time()
    record.facts["struck"] = struck > 0
    record.notes["calls_struck"] = struck


def _left(stage: Stage, number: int) -> int:
    for fault in control(stage, "GET")["data"]:
        if fault["id"] == number:
            return int(fault["times"])
    return 0


def control(stage: Stage, method: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Speak to the controls."""
    answer = urllib3.request(
        method,
        f"{stage.product.provider}/control/faults",
        headers={
            "Authorization": f"Bearer {settings.PAYMENT_PROVIDER_KEY}",
            "Content-Type": "application/json",
        },
        body=None if body is None else json.dumps(body),
        timeout=10.0,
        retries=3,
    )
    document: dict[str, Any] = json.loads(answer.data)
    return document

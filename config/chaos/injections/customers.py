"""What customers do at a bad moment."""

import threading
import time
from typing import Final

from config.chaos.history import Entry, Outcome
from config.chaos.stage import HIT_WITHIN, LEASED, Record, Stage

PAUSE: Final = "sleep(1.2)"
AT_ONCE: Final = 8
ORDER_OF: Final = """
SELECT subject_id::text FROM audit.v_sagas
WHERE finished_at IS NULL AND leased_until > clock_timestamp() AND subject_id IS NOT NULL
"""


def cancel_in_the_middle(stage: Stage, record: Record) -> None:
    """Hold a worker at a place for a moment, and cancel what the workers are at just then."""
    armory = stage.product.workers
    with armory.armed(record.injection.way, PAUSE) as mark:
        record.facts["hit"] = armory.await_hit(mark, HIT_WITHIN)
        if not record.facts["hit"]:
            return
        stage.strike(record)
        record.touched = [str(row[0]) for row in stage.ask(LEASED)]
        answers = [_cancel(stage, record, str(order_id)) for (order_id,) in stage.ask(ORDER_OF)]
    record.healed = time.time()
    definite = [entry for entry in answers if entry and entry.outcome is not Outcome.INFO]
    record.facts["asked"] = bool(definite)
    record.notes["accepted"] = sum(entry.outcome is Outcome.OK for entry in definite)
    record.notes["too_late"] = sum(entry.outcome is Outcome.FAIL for entry in definite)


def _cancel(stage: Stage, record: Record, order_id: str) -> Entry | None:
    client = stage.clients.who_placed(order_id)
    if client is None:
        return None
    key = f"F50-{record.injection.at:g}-{order_id}"
    first = client.program.cancel(key, order_id)
    again = client.program.cancel(f"{key}-again", order_id)
    return first if first.outcome is not Outcome.INFO else again


def one_key_at_once(stage: Stage, record: Record) -> None:
    """Send one order eight times at the same moment."""
    clients = stage.clients.clients
    client = clients[record.injection.victim % len(clients)]
    key = f"F49-{record.injection.at:g}"
    body = {
        "lines": [{"sku": client.skus[0], "quantity": 1}],
        "payment_method": str(client.customer.payment_methods["good"]),
    }
    entries: list[Entry] = []
    together = threading.Barrier(AT_ONCE)

    def send() -> None:
        together.wait()
        entries.append(client.program.place(key, body))

    stage.strike(record)
    threads = [threading.Thread(target=send) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.until_answered(key, body)
    told = {entry.order_id for entry in entries if entry.outcome is Outcome.OK}
    record.facts["sent"] = len(entries) == AT_ONCE
    record.facts["one_order"] = len(told) <= 1
    record.notes["answers"] = sorted(entry.status for entry in entries)
    record.healed = time.time()

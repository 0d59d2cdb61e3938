"""``manage.py sagas signal``: tell a saga by hand what it waits for."""

import json
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from sagas.core.errors import SagasError
from sagas.management.answering import a_text
from sagas.orchestration.registry import UnknownSaga
from sagas.orchestration.signals import (
    Signaled,
    UnfitPayload,
    UnknownSignal,
    signal_by_operator,
)
from sagas.orchestration.status import NoSuchSaga
from sagas.reasons import ReasonMissing, UnfitText

WORDS = {
    Signaled.DELIVERED: "delivered: the saga goes on",
    Signaled.KEPT: "kept: the saga does not wait for it yet, or is parked",
    Signaled.DUPLICATE: "duplicate: a signal has come under this key before",
    Signaled.TOO_LATE: "too late: the saga has gone past the step, or another signal came first",
    Signaled.FINISHED: "finished: the saga has ended, or compensates",
}
TAKEN = {Signaled.DELIVERED, Signaled.KEPT, Signaled.DUPLICATE}


def describe(parser: ArgumentParser) -> None:
    """Take what a signal consists of."""
    parser.add_argument("id")
    parser.add_argument("name", type=a_text, help="the name of the step that waits")
    parser.add_argument("--payload", default="{}", help="JSON of the type that the step expects")
    parser.add_argument("--key", type=a_text, required=True, help="what makes two signals one")
    parser.add_argument("--reason", type=a_text, required=True, help="why; kept in the audit")
    parser.add_argument("--by", type=a_text, default="terminal", help="who; kept in the audit")
    parser.add_argument("--json", action="store_true")


def carry_out(saga_id: UUID, options: dict[str, Any]) -> tuple[str, bool]:
    """Signal, and return what to say and whether it was taken."""
    try:
        outcome = signal_by_operator(
            saga_id,
            options["name"],
            _payload(options["payload"]),
            key=options["key"],
            by=options["by"],
            reason=options["reason"],
        )
    except NoSuchSaga as missing:
        raise CommandError(f"there is no saga {saga_id}") from missing
    except (ReasonMissing, UnfitText, UnknownSaga, UnknownSignal, UnfitPayload) as wrong:
        raise _refused(wrong) from wrong
    if options["json"]:
        said = json.dumps({"saga_id": str(saga_id), "outcome": outcome.value})
    else:
        said = WORDS[outcome]
    return said, outcome in TAKEN


def _payload(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as wrong:
        raise CommandError(f"--payload is no JSON: {wrong}", returncode=2) from wrong
    except RecursionError:
        raise CommandError("--payload is no JSON: nested too deeply", returncode=2) from None


def _refused(wrong: SagasError) -> CommandError:
    return CommandError(str(wrong), returncode=2)

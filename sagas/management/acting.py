"""How commands carry an operator's act out on one row or on a group: one by one, each told of."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from sagas.management.answering import a_text, said_of
from sagas.orchestration.audited import note_refusal
from sagas.reasons import ReasonMissing, UnfitText

Do = Callable[[UUID], bool]


def add_arguments(act: ArgumentParser) -> None:
    """Take what every act needs."""
    act.add_argument("--reason", type=a_text, required=True, help="why; kept in the audit")
    act.add_argument("--by", type=a_text, default="terminal", help="who; kept in the audit")
    act.add_argument("--json", action="store_true")


def parse_ids(texts: Iterable[str], *, what: str, where: str) -> list[UUID]:
    """Return ids.

    :raises CommandError: with exit code 2, if one is none
    """
    try:
        return [UUID(text) for text in texts]
    except ValueError as wrong:
        said = f"{' '.join(texts)!r} is no {what} id; `{where}` shows them"
        raise CommandError(said, returncode=2) from wrong


def on_each(
    command: BaseCommand, verb: str, ids: list[UUID], do: Do, options: dict[str, Any], *, of: str
) -> None:
    """Do it one by one and tell how each ended; exit code 1 when one was refused, or none is there.

    Each is a change of its own that somebody else may be faster with, or keep from its row. It is
    refused then, and the others go on.

    :param of: what the audit calls them
    """
    outcomes: dict[UUID, bool] = {}
    for key in ids:
        why = ""
        try:
            outcomes[key] = do(key)
        except (ReasonMissing, UnfitText) as wrong:
            raise CommandError(str(wrong), returncode=2) from wrong
        except (OperationalError, InterfaceError) as trouble:
            if len(ids) == 1:
                raise
            # Ends it all where the engine's own database is away, and so all the others'.
            note_refusal(verb, of, str(key), by=options["by"], reason=options["reason"])
            outcomes[key], why = False, f": {said_of(trouble)}"
        if not options["json"]:
            command.stdout.write(f"{key}  {'done' if outcomes[key] else 'refused'}{why}")
    _tell_all(command, verb, outcomes, as_json=options["json"])


def _tell_all(
    command: BaseCommand, verb: str, outcomes: dict[UUID, bool], *, as_json: bool
) -> None:
    done = sum(outcomes.values())
    if as_json:
        told: dict[str, Any] = {
            "act": verb,
            "done": [str(key) for key, ended in outcomes.items() if ended],
            "refused": [str(key) for key, ended in outcomes.items() if not ended],
        }
        command.stdout.write(json.dumps(told, indent=2))
    else:
        command.stdout.write(f"{verb}: {done} done, {len(outcomes) - done} refused")
    if done < max(1, len(outcomes)):
        sys.exit(1)

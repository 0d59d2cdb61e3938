"""What ``manage.py outbox tail`` does: it reads the log of every database until it is stopped."""

import logging
import signal
import sys
from collections import defaultdict
from collections.abc import Callable
from threading import Event
from time import monotonic

from django.db import InterfaceError, OperationalError, connections

from sagas.conf import conf
from sagas.outbox import slots, tailing

log = logging.getLogger(__name__)

PAUSE = 2.0
"""Seconds after which a broker or a database that was away is asked again."""


class Tailing:
    """The databases in which outboxes lie, one after another."""

    def __init__(self, say: Callable[[str], object]) -> None:
        """Tell of what is done by the function that is given."""
        self.say = say
        self.stopped = Event()
        self.away_until: dict[str, float] = defaultdict(float)

    def set_up(self) -> None:
        """Make publication and slot in every database.

        :raises NotTailable: if a server or a role does not allow it
        """
        for alias in slots.databases():
            made = slots.set_up(alias)
            self.say(f"{alias}: {'can be tailed now' if made else 'can be tailed already'}")

    def drop(self) -> None:
        """Take publication and slot away in every database.

        :raises NotTailable: if somebody reads from one
        """
        for alias in slots.databases():
            self.say(f"{alias}: {'dropped' if slots.drop(alias) else 'nothing to drop'}")

    def once(self) -> None:
        """Hand over what the logs hold up to now.

        :raises NotTailable: if a slot is missing or lost
        :raises Refused: if the broker does not take the events
        """
        for alias in slots.databases():
            self.say(f"{alias}: {tailing.tail_to_the_end(alias)} published")

    def run(self) -> None:
        """Hand over what comes, until SIGTERM or SIGINT; outlives database and broker.

        :raises NotTailable: if a slot is missing or lost: then the relay is alone
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopped.set())
        self.say("tailing")
        while not self.stopped.is_set():
            if not self._round():
                self.stopped.wait(float(conf.TAIL_INTERVAL))

    def _round(self) -> bool:
        """Look once into each log that is not known to be away; return whether one had news."""
        now = monotonic()
        there = [alias for alias in slots.databases() if self.away_until[alias] <= now]
        return sum(self._look(alias) for alias in there) > 0

    def _look(self, alias: str) -> int:
        """Look into one log, and leave it alone for a while where its database is away."""
        try:
            return tailing.tail(alias)
        except tailing.Refused:
            log.warning("tail_refused")
        except (OperationalError, InterfaceError) as away:
            log.warning("tail_away", extra={"error": str(away).partition("\n")[0]})
            connections[alias].close()
        self.away_until[alias] = monotonic() + PAUSE
        return 0


def agreed(question: str) -> bool:
    """Ask whoever sits at the terminal; nobody there means no."""
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}

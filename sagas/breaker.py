"""Circuit breakers: a system that does not answer is left alone by everybody, until it does again.

# Note [A breaker only spares]
What a breaker knows is in Redis, shared by all processes, and may be lost, old or wrong. It
decides nothing but whether a call is made now. A circuit that is forgotten is a closed one: calls
are made, fail, and are counted by the row as ever. One that is open for no reason costs time: who
comes after it makes a probe, and its answer closes it.

Three keys hold a circuit. ``open`` says since when, ``until`` lives as long as nobody is to call,
``probe`` belongs to the one that may try after that, and ends by itself if its process does.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from random import uniform
from typing import Any, Final

import redis

from sagas.conf import conf
from sagas.core.commands import Postponed, Rejected, Unknown
from sagas.failpoints import failpoint
from sagas.orchestration.donekeys import client
from sagas.orchestration.wakes import Silence
from sagas.sometimes import sometimes

log = logging.getLogger(__name__)

IN_A_ROW: Final = 60_000
"""Milliseconds after which a failure is no longer counted together with the next one."""
FORGOTTEN: Final = 86_400
"""Seconds after which an open circuit that nobody has asked for is closed."""

BREAKERS: Final[dict[str, "Breaker"]] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Circuit:
    """How a breaker stands, for screens."""

    name: str
    opened_at: datetime | None
    """Since when calls are held back; None while it is closed, or Redis does not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Admission:
    is_probe: bool = False
    had_failures: bool = False


class Breaker:
    """Stops calls to one other system after so many in a row had no answer."""

    def __init__(self, name: str) -> None:
        """Take the name of the system, which every process has to give it."""
        self.name = name
        self._silence = Silence("breaker_unheard")
        BREAKERS[name] = self

    @contextmanager
    def call(self) -> Iterator[None]:
        """Make a call, unless the circuit is open; what has no answer (``Unknown``) opens it.

        A no (``Rejected``) is an answer. Of anything else it is not known whether it was one.

        :raises Postponed: if nothing was sent, or a probe has had no answer either
        """
        admitted = self._admit()
        try:
            yield
        except Unknown as unanswered:
            if not admitted.is_probe:
                self._count()
                raise
            self._go_on_waiting()
            said = f"{self.name} does not answer yet: {unanswered}"
            raise self._postponed(said, conf.BREAKER_PAUSE) from unanswered
        except Rejected:
            self._answered(admitted)
            raise
        self._answered(admitted)

    def _answered(self, admitted: _Admission) -> None:
        if admitted.is_probe or admitted.had_failures:
            self._close(was_open=admitted.is_probe)

    def circuit(self) -> Circuit:
        """Return how it stands."""
        since = None if self._is_off() else self._ask(lambda: client().get(self._key("open")))
        return Circuit(name=self.name, opened_at=_instant(since))

    def forget(self) -> None:
        """Close it, whatever it has seen."""
        self._ask(lambda: client().delete(*map(self._key, ("open", "until", "probe", "failures"))))

    def _admit(self) -> _Admission:
        if self._is_off():
            return _Admission()
        found = self._ask(self._read)
        if found is None:
            return _Admission()
        since, left, failures = found
        if since is None:
            return _Admission(had_failures=failures is not None)
        if left <= 0:
            life = int(2000 * conf.CALL_TIMEOUT)
            key = self._key("probe")
            if self._ask(lambda: client().set(key, "1", nx=True, px=life)) is not None:
                sometimes("breaker.probed")
                failpoint("breaker.probing")
                return _Admission(is_probe=True)
            if self._silence.lasts():
                return _Admission()
        sometimes("breaker.refused")
        said = f"{self.name} is not called for now: it did not answer others"
        raise self._postponed(said, max(left, 0) / 1000)

    def _read(self) -> Any:
        both = client().pipeline(transaction=False)
        both.get(self._key("open"))
        both.pttl(self._key("until"))
        both.get(self._key("failures"))
        return both.execute()

    def _count(self) -> None:
        if self._is_off():
            return
        key = self._key("failures")
        both = client().pipeline(transaction=False)
        both.incr(key)
        both.pexpire(key, IN_A_ROW)
        counted = self._ask(both.execute)
        if counted is not None and counted[0] >= conf.BREAKER_FAILURES:
            self._open()

    def _open(self) -> None:
        both = client().pipeline(transaction=True)
        both.set(self._key("open"), int(time.time()), nx=True, ex=FORGOTTEN)
        both.set(self._key("until"), "1", px=_pause())
        both.delete(self._key("failures"))
        opened = self._ask(both.execute)
        if opened is not None and opened[0]:
            sometimes("breaker.opened")
            log.warning("breaker_opened", extra={"breaker": self.name})

    def _go_on_waiting(self) -> None:
        both = client().pipeline(transaction=True)
        both.set(self._key("until"), "1", px=_pause())
        both.delete(self._key("probe"))
        self._ask(both.execute)

    def _close(self, *, was_open: bool) -> None:
        self.forget()
        if was_open:
            sometimes("breaker.closed")
            log.warning("breaker_closed", extra={"breaker": self.name})

    def _is_off(self) -> bool:
        return not conf.BREAKER_FAILURES or self._silence.lasts()

    def _ask(self, question: Any) -> Any:
        """Ask Redis; None also where it does not answer, which is left alone for a while."""
        try:
            return question()
        except redis.RedisError as error:
            self._silence.begin(error)
            return None

    def _key(self, what: str) -> str:
        return f"sagas:breaker:{self.name}:{what}"

    def _postponed(self, said: str, left: float) -> Postponed:
        postponed = Postponed(said)
        # Spread, or all that wait would come at once, to one probe and then to a system that has
        # only just come back.
        postponed.wait = left + uniform(0, conf.BREAKER_PAUSE)
        return postponed


def _pause() -> int:
    return max(1, int(1000 * conf.BREAKER_PAUSE))


def _instant(found: Any) -> datetime | None:
    if not (isinstance(found, bytes) and found.isdigit() and len(found) < 12):
        return None
    return datetime.fromtimestamp(int(found), UTC)


def circuits() -> list[Circuit]:
    """Return how every breaker of this process stands."""
    return [breaker.circuit() for _, breaker in sorted(BREAKERS.items())]

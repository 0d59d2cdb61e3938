"""Named places where a test or a chaos run may make the process die, stop, fail or wait.

``CONCORD_FAILPOINTS="name=action[:nth];..."`` arms them; ``CONCORD_FAILPOINTS_FILE`` names a file
of the same grammar that is read at each hit, so that running processes can be told. What the file
asks for happens once over all processes: whoever hits first leaves a mark beside the file (with
``nth``, whoever first comes by that often). Actions:
``kill``, ``stop``, ``raise``, ``sleep(seconds)``, ``after_then_raise`` (same as raise; for
places after the effect). ``name/detail`` hits only for one step (``undo.`` before its name on the
way back), one context or one act. Refused in production.
"""

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sagas.core.errors import SagasError

PLACES: dict[str, str] = {
    "start.committed": "after the commit that starts a saga, before its chain is published",
    "cancel.before_commit": "a saga is turned round from outside, not yet committed",
    "cancel.committed": "a saga is turned round from outside, nobody has been told",
    "deadline.committed": "a deadline has turned a saga round, nobody has been told",
    "limit.committed": "a saga that slept for its lock counts its step's time, nothing has begun",
    "act.before_commit": "an operator's act is written, not yet committed",
    "act.committed": "an operator's act is committed, nobody has been told",
    "request.posted": "a detached context has asked the engine and committed, nobody has been told",
    "chain.published": "after a chain was published",
    "claim.before": "a message has arrived, its saga is not claimed yet",
    "batch.claimed": "a message has claimed several sagas, and has not rung for those left",
    "batch.given_back": "claimed sagas that were not begun are free again, nobody has been told",
    "batch.ended": "a message's work is done, and nobody was rung for who relied on it",
    "claim.committed": "after a saga was claimed, before any work",
    "effect.before_commit": "the part of a detached context is written, not yet committed",
    "effect.committed": "the part of a detached context is committed, the saga has not moved",
    "step.before_commit": "the effect and the cursor are written, not yet committed",
    "step.committed": "a step is committed, nobody has been told",
    "together.before_commit": "the step of several sagas is written, not yet committed",
    "together.committed": "the step of several sagas is committed, nobody has been told",
    "intent.before_commit": "the intent of a remote call is written, not yet committed",
    "intent.committed": "the intent is committed, the call has not been made",
    "heartbeat.committed": "a call in the middle has renewed its lease, or been refused",
    "call.returned": "the remote call has returned, nothing is recorded",
    "negative.before_commit": "a definite no of the other side is counted, not yet committed",
    "negative.committed": "a definite no is counted, and the fault it is has not been stored",
    "breaker.probing": "one call may try a system that did not answer, and is not made yet",
    "close.before": "a negative at the pivot, not yet made final",
    "close.returned": "the negative has been made final, nothing is recorded",
    "branch.taken": "a compensation has taken a branch from its worker, nothing is undone yet",
    "reject.before_commit": "compensation is about to begin, not yet committed",
    "reject.committed": "compensation has begun, nobody has been told",
    "wait.before_commit": "a saga is about to sleep, not yet committed",
    "wait.committed": "a saga sleeps and its worker goes on to others",
    "child.committed": "a child has ended, its parent has not been rung",
    "lock.before_commit": "a saga takes the lock it slept for, or sleeps on, not yet committed",
    "lock.committed": "a saga has the lock it slept for, or sleeps on",
    "lock.handed_on": "a lock is handed on with its holder's last commit, nobody has been rung",
    "signal.before_commit": "a signal is written, not yet committed",
    "signal.committed": "a signal is committed, its saga has not been rung",
    "fault.committed": "a fault and its retry time are stored",
    "link.ended": "all steps of a link are done, before Celery publishes the next one",
    "donekeys.before": "a link is committed, Redis has not been told",
    "continue.before": "the error callback has arrived, the row has not been read",
    "sweep.claimed": "the sweeper has marked sagas, their hints are not published",
    "sweep.published": "the sweeper has published hints",
    "relay.selected": "events are locked for publishing",
    "relay.published": "events are published, not yet marked",
    "relay.committed": "events are marked as published",
    "history.kept": "a page of rows that no relay had moved is in the history",
    "tail.published_tables": "the outboxes are published for tailing, the slot is not made yet",
    "tail.slot_dropped": "a slot is dropped, nobody has been told",
    "tail.read": "events are read from the log, not published",
    "tail.handed_over": "events of the log are published and marked, its slot has not moved",
    "tail.advanced": "the slot has moved past what was published",
    "unreadable.found": "a message that nobody can read has left its queue, it is not kept",
    "unreadable.kept": "a message that nobody can read is kept, nobody has been told",
    "outside.selected": "events for the outside are read, not published",
    "outside.published": "events are published to the outside, not yet marked",
    "outside.committed": "events are marked as published to the outside",
    "stream.selected": "events for the stream are read, not appended",
    "stream.published": "events are in the stream, still noted as due",
    "stream.committed": "events are in the stream, and not due any more",
    "deliver.before_commit": "an event is applied, not yet committed",
    "deliver.committed": "an event is applied and committed",
    "watch.claimed": "flows are due and claimed, nobody has looked at them yet",
    "watch.before_commit": "what a look came to is written, not yet committed",
    "watch.committed": "what a look came to is committed, nothing is delivered again yet",
    "watch.undone": "a detached context has taken its hop back, the flow does not know it yet",
    "republish.found": "events without an inbox row are found, not yet delivered again",
    "republish.delivered": "events are delivered again, those applied by everybody not marked",
    "consumer.begun": "a new consumer is written down, nothing has been delivered to it",
    "catchup.delivered": "a new consumer has applied a page, how far it came is not noted",
    "catchup.noted": "how far a new consumer has come is noted",
    "rebuild.before_commit": "an empty shadow is laid out, not yet committed",
    "rebuild.begun": "an empty shadow is laid out, nothing is in it",
    "rebuild.page.before_commit": "a page of the past is in the shadow, not yet committed",
    "rebuild.page.committed": "a page of the past is in the shadow",
    "rebuild.change.before_commit": "shadow and live table have changed places, not yet committed",
    "rebuild.changed": "shadow and live table have changed places",
    "lag.noted": "how fresh a projection is has been noted",
    "letter.before_commit": "a handler's fault is written down, not yet committed",
    "letter.committed": "a handler's fault, or an attempt to come, is written down",
    "request.before_commit": "a request's effect and answer are written, not yet committed",
    "request.committed": "a request is committed, its answer is not sent",
}

VARIABLES = ("CONCORD_FAILPOINTS", "CONCORD_FAILPOINTS_FILE")

_ARM = re.compile(
    r"^(?P<name>[a-z_.]+)(?:/(?P<detail>[\w.]+))?="
    r"(?P<action>kill|stop|raise|after_then_raise|sleep\((?P<seconds>\d+(?:\.\d+)?)\))(?::(?P<nth>[1-9]\d*))?$"
)


class FailpointHit(SagasError):
    """A failpoint was told to raise."""


class InvalidFailpoint(SagasError):
    """A failpoint is written as name[/detail]=action[:nth]."""


@dataclass(frozen=True, slots=True)
class _Armed:
    action: str
    seconds: float
    nth: int | None


_hits: Counter[str] = Counter()
_listeners: list[Callable[[str, str], None]] = []


@contextmanager
def listening(listener: Callable[[str, str], None]) -> Iterator[None]:
    """Call a function at every place that this process comes by inside the block.

    For rehearsals in one process: what the listener raises ends the work there and then, as a
    death of the process would.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def parse(text: str) -> Mapping[str, _Armed]:
    """Read the grammar above.

    :raises InvalidFailpoint: if a part is malformed or names an unknown place
    """
    armed = {}
    for part in filter(None, (p.strip() for p in re.split(r"[;\n]", text))):
        match = _ARM.match(part)
        if not match or match["name"] not in PLACES:
            raise InvalidFailpoint(
                f"{part!r}: write name[/detail]=action[:nth]; `manage.py failpoints list` has the"
                " names, the actions are kill, stop, raise, sleep(s), after_then_raise"
            )
        key = match["name"] + (f"/{match['detail']}" if match["detail"] else "")
        nth = int(match["nth"]) if match["nth"] else None
        action = match["action"].partition("(")[0]
        armed[key] = _Armed(action, float(match["seconds"] or 0), nth)
    return armed


def armed_text() -> str:
    """Return what the environment and the control file ask for."""
    text = os.environ.get("CONCORD_FAILPOINTS", "")
    control = _read(os.environ.get("CONCORD_FAILPOINTS_FILE"))
    return f"{text};{control}".strip("; \n")


def failpoint(name: str, detail: str = "") -> None:
    """Do here what the environment asks for; two dictionary look-ups when nothing is armed."""
    for listener in _listeners:
        listener(name, detail)
    text = os.environ.get("CONCORD_FAILPOINTS")
    control = os.environ.get("CONCORD_FAILPOINTS_FILE")
    if text is None and control is None:
        return
    for key in (name, f"{name}/{detail}"):
        armed = parse(text or "").get(key)
        if armed is not None:
            _hits[key] += 1
            if armed.nth in {None, _hits[key]}:
                _act(name, armed)
        told = parse(_read(control)).get(key)
        if told is not None:
            _hits[f"{control}={key}"] += 1
            if told.nth in {None, _hits[f"{control}={key}"]} and _first(control, key):
                _act(name, told)


def _read(control: str | None) -> str:
    return Path(control).read_text() if control and Path(control).exists() else ""


def mark(control: str, key: str) -> Path:
    """Return the file that says that an entry of the control file has been hit."""
    return Path(f"{control}.{key.replace('/', '~')}.hit")


def _first(control: str | None, key: str) -> bool:
    try:
        mark(str(control), key).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _act(name: str, armed: _Armed) -> None:
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif armed.action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif armed.action == "sleep":
        threading.Event().wait(armed.seconds)
    else:
        raise FailpointHit(name)

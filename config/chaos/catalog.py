"""The faults: what each is, how it is done, and by which facts it is known to have struck."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TIMES: Final = 3
"""Injections that a plan holds of each fault it has chosen, at least."""
ENOUGH: Final = 2
"""Evidenced injections without which a fault counts as not tried."""


class Lane(StrEnum):
    """What is done one after the other; the lanes run beside each other."""

    PROCESSES = "processes"
    SERVERS = "servers"
    OUTSIDE = "outside"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One kind of misfortune."""

    id: str
    says: str
    lane: Lane
    needs: tuple[str, ...]
    """Facts that all have to be seen, or the injection does not count."""
    holds: tuple[str, ...] = ()
    """Facts that must not be seen to be false: the fault's own promise beside the invariants."""
    seconds: float = 4.0
    """What one injection takes up of its lane."""
    leases: float = 0.0
    """How many leases it lasts beside that."""
    bar: float = 30.0
    """Seconds of recovery that are expected under the fast profile."""
    ways: tuple[str, ...] = ("",)
    """Manners of doing it, all of which come round; the places of the checkout add theirs."""
    needs_load: bool = True
    """Whether it counts only while sagas are under way."""


_KILLED: Final = ("hit", "gone")
_AT_PLACES: Final = (
    ("F1", "worker killed before it claims", 15.0),
    ("F2", "worker killed after the claim, before the call", 15.0),
    ("F3", "worker killed after the call, before the commit", 20.0),
    ("F4", "worker killed inside the transaction", 15.0),
    ("F5", "worker killed after the commit, before anybody is told", 15.0),
    ("F6", "worker killed after a message was published", 15.0),
    ("F7", "worker killed when a link has ended", 15.0),
    ("F8", "worker killed on the way back", 20.0),
    ("F9", "worker killed when the way back begins", 15.0),
    ("F10", "relay killed: selected, published, marked", 10.0),
    ("F11", "consumer of events killed before or after its commit", 10.0),
    ("F18", "sweeper killed in the middle of a batch", 15.0),
)

FAULTS: Final = (
    *(
        Fault(id=name, says=says, lane=Lane.PROCESSES, needs=_KILLED, bar=bar, seconds=3.0)
        for name, says, bar in _AT_PLACES
    ),
    Fault(
        id="F12",
        says="web process killed: in a request, by a timer",
        lane=Lane.OUTSIDE,
        needs=("gone",),
        ways=(
            "request.before_commit",
            "request.committed",
            "start.committed",
            "timer",
        ),
        seconds=4.0,
    ),
    Fault(
        id="F13",
        says="pool child killed by a timer, its parent lives",
        lane=Lane.PROCESSES,
        needs=("gone",),
        holds=("parent_lives",),
        seconds=2.0,
        bar=15.0,
    ),
    Fault(
        id="F2all",
        says="all workers killed at once",
        lane=Lane.PROCESSES,
        needs=("gone",),
        seconds=12.0,
        leases=1.0,
        bar=20.0,
    ),
    Fault(
        id="F15",
        says="all workers restarted by SIGTERM, one after the other",
        lane=Lane.PROCESSES,
        needs=("ended",),
        holds=("within_grace",),
        seconds=18.0,
        bar=15.0,
    ),
    Fault(
        id="F16",
        says="worker frozen past its lease, then thawed",
        lane=Lane.PROCESSES,
        needs=("hit", "frozen", "thawed"),
        seconds=3.0,
        leases=1.0,
        bar=15.0,
    ),
    Fault(
        id="F17",
        says="beat dead; two beats; beat frozen and thawed",
        lane=Lane.PROCESSES,
        needs=("silent_or_double",),
        ways=("dead", "double", "frozen"),
        seconds=7.0,
        bar=15.0,
    ),
    Fault(
        id="F19",
        says="broker killed, starts empty",
        lane=Lane.SERVERS,
        needs=("restarted", "empty"),
        seconds=5.0,
    ),
    Fault(
        id="F20",
        says="broker killed, starts from an old dump",
        lane=Lane.SERVERS,
        needs=("restarted", "old"),
        seconds=6.0,
    ),
    Fault(id="F21", says="broker emptied", lane=Lane.SERVERS, needs=("emptied",), seconds=2.0),
    Fault(
        id="F23",
        says="broker full: it refuses what is written",
        lane=Lane.SERVERS,
        needs=("refused",),
        seconds=5.0,
    ),
    Fault(
        id="F24",
        says="broker answers nothing for a while",
        lane=Lane.SERVERS,
        needs=("silent",),
        seconds=6.0,
        bar=20.0,
    ),
    Fault(
        id="F28",
        says="PostgreSQL stopped at once and started again",
        lane=Lane.SERVERS,
        needs=("restarted",),
        seconds=6.0,
    ),
    Fault(
        id="F31",
        says="database sessions ended, some each half second",
        lane=Lane.SERVERS,
        needs=("ended",),
        seconds=4.0,
        bar=15.0,
    ),
    Fault(
        id="F36",
        says="a forgotten session holds rows of the stock",
        lane=Lane.SERVERS,
        needs=("held",),
        seconds=6.0,
    ),
    Fault(
        id="F39",
        says="captured messages delivered again, out of order, five times",
        lane=Lane.OUTSIDE,
        needs=("captured", "consumed"),
        seconds=4.0,
    ),
    Fault(
        id="F40",
        says="messages that nobody can read",
        lane=Lane.OUTSIDE,
        needs=("consumed",),
        holds=("workers_live",),
        ways=(
            "not_json",
            "no_object",
            "no_properties",
            "no_base64",
            "unknown_task",
            "missing_saga",
            "wrong_arguments",
        ),
        seconds=6.0,
    ),
    Fault(
        id="F43",
        says="provider: effect done, no answer to us",
        lane=Lane.OUTSIDE,
        needs=("struck",),
        ways=("hang_after", "drop_after"),
        seconds=3.0,
    ),
    Fault(
        id="F44",
        says="provider: errors before and after the effect, busy, refusals, cut, slow",
        lane=Lane.OUTSIDE,
        needs=("struck",),
        ways=(
            "error_after",
            "error_before",
            "busy",
            "refuse",
            "drop_before",
            "hang_before",
            "slow",
        ),
        seconds=3.0,
        bar=60.0,
    ),
    Fault(
        id="F49",
        says="one key eight times at once",
        lane=Lane.OUTSIDE,
        needs=("sent",),
        holds=("one_order",),
        seconds=2.0,
        needs_load=False,
    ),
    Fault(
        id="F50",
        says="canceled at each moment of the saga",
        lane=Lane.OUTSIDE,
        needs=("hit", "asked"),
        seconds=4.0,
        bar=20.0,
    ),
)
BY_ID: Final[Mapping[str, Fault]] = {fault.id: fault for fault in FAULTS}

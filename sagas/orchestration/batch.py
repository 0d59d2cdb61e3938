"""One message, several sagas: its own, and fresh ones that wait in front of the same link.

Every saga of a batch is carried out as if it were alone. It shares with its neighbors the message,
the claiming statement, the time slice and the fate of the process, and where its steps allow it the
commit of a step (``together.py``).

A step that calls out may hang, and must hold nobody up. So a batch goes with each saga only as far
as its next call; then it lets all of them go but one, each with a message of its own, and makes
the calls of that one.

See Note [One message for many] in ``wakes.py``.
"""

from collections import deque
from collections.abc import Collection
from time import monotonic
from uuid import UUID

from sagas.conf import conf
from sagas.core.keys import Direction
from sagas.failpoints import failpoint
from sagas.orchestration import canvas, claims, donekeys, registry, together, wakes
from sagas.orchestration.carried import Carried, LinkEnd
from sagas.orchestration.executor import STATUS, not_claimed
from sagas.orchestration.store import Claim
from sagas.orchestration.wakes import Wake
from sagas.orchestration.worker import is_spent
from sagas.outbox.apart import Apart
from sagas.sometimes import sometimes


def run_batch(
    saga_id: UUID, low: int, high: int, direction: Direction, *, swept: bool, of: str
) -> LinkEnd:
    """Carry out a link of a saga, and of the fresh ones of its definition in front of it."""
    wake = wakes.read(of, direction, low, high)
    remembered = donekeys.all_done(saga_id, low, high, direction, answered=wake.key)
    failpoint("claim.before")
    own = None if remembered and not swept else saga_id
    # A process that does not know the definition takes no more of them than it was told to.
    saga = registry.SAGAS.get((wake.name, wake.version))
    known = saga is not None and wake.high <= saga.last
    with Apart() as apart:
        try:
            return _take_up(own, saga_id, wake, apart, known=known)
        finally:
            failpoint("batch.ended")
            if known:
                # Others relied on this message, whom it has not taken: its own saga was tried
                # before, they were more than a batch, somebody held their rows at that moment and
                # has let go, or it was broken off: that is told before what fails here.
                with apart.each():
                    _ring_for_the_rest(wake)


def _take_up(own: UUID | None, saga_id: UUID, wake: Wake, apart: Apart, *, known: bool) -> LinkEnd:
    most = int(conf.CLAIM_BATCH) if known else 1
    status = STATUS[wake.direction]
    claimed = claims.claim_batch(own, wake, status=status, most=most, alone=not known)
    if claimed:
        failpoint("claim.committed")
    # Who is left need not wait until the work of this one is done, which may be a call.
    has_left_some = len(claimed) >= most or any(claim.attempts > 1 for claim in claimed)
    if known and has_left_some:
        failpoint("batch.claimed")
        sometimes("batch.full")
        with apart.each():  # nobody else could do what is claimed for as long as its lease
            _ring_for_the_rest(wake)
    return _carry_out(claimed, own, saga_id, wake)


def _carry_out(claimed: list[Claim], own: UUID | None, saga_id: UUID, wake: Wake) -> LinkEnd:
    link = (wake.low, wake.high, wake.direction)
    has_own = any(claim.saga_id == own for claim in claimed)
    if has_own and len(claimed) == 1:
        return Carried(claimed[0], *link).carry_on()
    if claimed:
        _Batch(claimed, wake).run()
    if own is None:
        sometimes("link.remembered")
        return LinkEnd.PASSED
    return LinkEnd.STOPPED if has_own else not_claimed(saga_id, *link)


def _ring_for_the_rest(wake: Wake) -> None:
    """Ring for one of those that nobody has: where some must be left, and after every batch."""
    ready = claims.next_ready(wake, status=STATUS[wake.direction])
    if ready is None:
        return
    canvas.send(
        registry.get(wake.name, wake.version),
        ready.saga_id,
        cursor=ready.cursor,
        direction=wake.direction,
        traceparent=ready.traceparent,
    )


class _Batch:
    """Several claimed sagas, each on its way through the same link; no chain is behind them."""

    def __init__(self, claimed: list[Claim], wake: Wake) -> None:
        started = monotonic()
        self.started = started
        self.wake = wake
        self.in_hand = [
            Carried(claim, wake.low, wake.high, wake.direction, started=started, chained=False)
            for claim in claimed
        ]
        self.calling: deque[Carried] = deque()

    def run(self) -> None:
        if len(self.in_hand) > 1:
            sometimes("batch.claimed")
        last = None
        with Apart() as apart:
            try:
                if not self._go_together() or not self._is_spent():
                    self._go_to_the_calls()
                if self.calling and not self._is_spent():
                    last = self.calling.popleft()
            finally:
                # What has broken it off is told before what fails here.
                with apart.each():
                    self._let_go_of_all()
        if last is not None:
            last.carry_on()

    def _let_go_of_all(self) -> None:
        held: list[Carried] = []
        if self.in_hand:
            sometimes("batch.given_back")
            held += _let_go(self.in_hand)
        if self.calling:
            sometimes("batch.handed_out")
            held += _let_go(self.calling)
        _let_go_of_held(held)

    def _go_together(self) -> bool:
        """Go on with many at once, as far as their steps may share a commit; return whether any."""
        saga = registry.SAGAS.get((self.wake.name, self.wake.version))
        if saga is None or not together.shares(saga, self.wake.first, self.wake.direction):
            return False
        self._begin()
        has_stepped = False
        while len(row := together.side_by_side(self.in_hand)) > 1 and not self._is_spent():
            together.step(row, self.in_hand)
            has_stepped = True
        return has_stepped

    def _begin(self) -> None:
        for saga in list(self.in_hand):
            # Out of the hand meanwhile: what cannot even be read must not be given back as fresh.
            self.in_hand.remove(saga)
            if saga.begin() is None:
                self.in_hand.append(saga)

    def _go_to_the_calls(self) -> None:
        while self.in_hand:
            saga = self.in_hand.pop(0)
            if saga.carry_on(calls=False) is LinkEnd.CALLS:
                self.calling.append(saga)
            if self._is_spent():
                return

    def _is_spent(self) -> bool:
        return is_spent(self.started)


def _let_go(sagas: Collection[Carried]) -> list[Carried]:
    """Free sagas of a batch, with the attempt of those that were not begun, and ring for them.

    :return: those whose rows somebody holds, or that are another worker's by now
    """
    freed = claims.give_back([saga.claimed for saga in sagas])
    failpoint("batch.given_back")
    _ring_for([saga for saga in sagas if saga.claimed.saga_id in freed])
    return [saga for saga in sagas if saga.claimed.saga_id not in freed]


def _let_go_of_held(sagas: list[Carried]) -> None:
    """Wait for whoever holds the rows of the others; nobody else waits for that any more."""
    if not sagas:
        return
    freed = claims.give_back_held([saga.claimed for saga in sagas])
    failpoint("batch.given_back")
    _ring_for([saga for saga in sagas if saga.claimed.saga_id in freed])


def _ring_for(sagas: list[Carried]) -> None:
    # The unbegun are fresh again: one message is for all of them that stand at one step.
    unbegun = {saga.claimed.cursor: saga for saga in reversed(sagas) if saga.saga is None}
    for saga in [*unbegun.values(), *(saga for saga in sagas if saga.saga is not None)]:
        saga.send()
